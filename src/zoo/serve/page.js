// The page: asks the server how it is every two seconds, and draws load and models.

import {bars, chart, count, el, say, seconds} from "./charts.js";
import {key, request} from "./server.js";
import {offer} from "./try.js";

const EVERY = 2000, LONGEST = 15000;  // milliseconds between questions; while nobody answers, at most
const POINTS = 120;
const at = id => document.getElementById(id);

const charts = [
  chart("Requests / s", count, [{key: "requests"}, {key: "refused", says: "refused "}]),
  chart("Tokens / s", count, [{key: "tokens"}]),
  chart("Latency", seconds, [{key: "p95", says: "p95 "}, {key: "p50", says: "p50 "}]),
  chart("Queue, rows", count, [{key: "queue", says: "queue "}, {key: "rows", says: "rows "}]),
];
at("charts").append(...charts.map(made => made.node));

// ---- load

const past = {queue: [], rows: []};  // one number a second, as far as this page has looked
let asked = null;  // when it looked last

function remember(models) {
  const stats = models.flatMap(model => model.versions.map(version => version.stats || {}));
  const now = performance.now() / 1000;
  const steps = asked == null ? 1 : Math.max(1, Math.min(POINTS, Math.round(now - asked)));
  asked = now;
  for (const [name, field] of [["queue", "waiting"], ["rows", "rows"]]) {
    const sum = stats.reduce((all, one) => all + (one[field] || 0), 0);
    past[name].push(...Array(steps).fill(sum));
    past[name].splice(0, past[name].length - POINTS);
  }
}

function padded(values) {
  return [...Array(POINTS - values.length).fill(null), ...values];
}

// ---- models

const cards = new Map();  // name -> its card
const before = new Map();  // name@version -> [seconds, tokens], for tokens a second

function rate(name, tokens) {
  const now = performance.now() / 1000;
  const [then, had] = before.get(name) || [now, tokens];
  before.set(name, [now, tokens]);
  return now > then && tokens >= had ? (tokens - had) / (now - then) : 0;
}

function drawModels(models) {
  const names = new Set(models.map(model => model.name));
  for (const [name, card] of cards) if (!names.has(name)) { card.node.remove(); cards.delete(name); }
  if (models.length && !cards.size) at("models").replaceChildren();
  for (const model of models) {
    if (!cards.has(model.name)) {
      cards.set(model.name, newCard(model.name));
      at("models").append(cards.get(model.name).node);
    }
    drawCard(cards.get(model.name), model);
  }
}

function newCard(name) {
  const kind = el("span", {className: "soft small"});
  const verbs = el("ul", {className: "verbs", ariaLabel: "What it does"});
  const versions = el("div", {className: "versions"});
  const node = el("article", {className: "card model"}, el("h3", {}, name), kind, verbs, versions);
  return {node, kind, verbs, versions, parts: new Map()};
}

function drawCard(card, model) {
  const about = (model.versions.find(one => one.version === model.default) || {}).about;
  say(card.kind, about ? `${about.family}, ${count(about.parameters)} parameters` : "");
  if (card.verbs.textContent !== (about?.verbs || []).join("")) {
    card.verbs.replaceChildren(...about.verbs.map(verb => el("li", {}, verb)));
  }
  const place = one => `${one.version} ${one.since}`;  // a folder loaded again keeps its version's name
  const there = new Set(model.versions.map(place));
  for (const [name, part] of card.parts) if (!there.has(name)) { part.node.remove(); card.parts.delete(name); }
  for (const version of model.versions) {
    if (!card.parts.has(place(version))) {
      card.parts.set(place(version), newVersion(version.version));
      card.versions.append(card.parts.get(place(version)).node);
    }
    drawVersion(card.parts.get(place(version)), model, version);
  }
}

const FACTS = ["in flight", "queue", "rows a batch", "tokens / s"];

function newVersion(name) {
  const state = el("span", {className: "badge"});
  const main = el("span", {className: "badge main", hidden: true}, "default");
  const why = el("p", {className: "note bad", hidden: true});
  const facts = new Map(FACTS.map(fact => [fact, el("dd")]));
  const list = el("dl", {className: "facts"}, ...[...facts].map(([fact, dd]) => el("div", {}, el("dt", {}, fact), dd)));
  const cache = el("div", {className: "cache", hidden: true});
  const small = el("p", {className: "soft small about"});
  const node = el("section", {ariaLabel: `version ${name}`},
    el("p", {className: "head"}, el("span", {className: "version"}, "version ", el("b", {}, name)), state, main), why, list, cache, small);
  return {node, state, main, why, list, facts, cache, small};
}

const LOOK = {ready: "ok", loading: "none", leaving: "none", refused: "bad", restarting: "bad"};

function drawVersion(part, model, version) {
  const stats = version.stats || {}, about = version.about || {};
  say(part.state, version.state);
  part.state.className = `badge ${LOOK[version.state] || "none"}`;
  part.main.hidden = version.version !== model.default;
  part.why.hidden = !version.why;
  say(part.why, version.why || "");
  const growing = (about.verbs || []).includes("complete");
  const tokens = (stats.new_tokens || 0) + (growing ? 0 : stats.prompt_tokens || 0);
  const numbers = {
    "in flight": count(version.inflight), queue: count(stats.waiting ?? 0),
    "rows a batch": count(mean(stats.batches || {})),
    "tokens / s": count(rate(`${model.name} ${version.version} ${version.since}`, tokens)),
  };
  part.list.hidden = !version.about;
  for (const [fact, dd] of part.facts) say(dd, numbers[fact]);
  drawCache(part.cache, stats);
  say(part.small, words(version, about));
}

function words({ready_seconds: ready, restarts}, {context, weights, dtype}) {
  const told = [context && `context ${context}`, weights || dtype, ready != null && `ready in ${seconds(ready)}`,
    restarts > 0 && `came back ${restarts === 1 ? "once" : `${restarts} times`}`];
  return told.filter(Boolean).join(" · ");
}

function mean(batches) {
  const pairs = Object.entries(batches).map(([size, times]) => [Number(size), times]);
  const all = pairs.reduce((sum, [, times]) => sum + times, 0);
  return all ? pairs.reduce((sum, [size, times]) => sum + size * times, 0) / all : null;
}

function drawCache(node, {cache_tokens: held, cache_limit: limit}) {
  node.hidden = !limit;
  if (limit) node.replaceChildren(bars([["cache", held / limit, `${count(held)} of ${count(limit)} tokens`]]));
}

// ---- the key

function openKey(open) {
  at("key").hidden = !open;
  at("key-open").setAttribute("aria-expanded", String(open));
  if (open) at("key-text").focus();
}

at("key-open").addEventListener("click", () => openKey(at("key").hidden));
at("key").addEventListener("submit", event => {
  event.preventDefault();
  key.keep(at("key-text").value.trim());
  at("key-text").value = "";
  openKey(false);
  look();
});
at("key-forget").addEventListener("click", () => { key.forget(); openKey(false); look(); });

// ---- asking

let timer = null, wait = EVERY, refusedKey = false;

function state(word, look) {
  say(at("state"), word);
  at("state").className = `badge ${look}`;
}

function lost(text) {
  at("lost").hidden = !text;
  say(at("lost"), text);
}

async function look() {
  clearTimeout(timer);
  try {
    draw(await (await request("v1/status")).json());
    wait = EVERY;
    refusedKey = false;
  } catch (fault) {
    miss(fault);
  }
  if (!document.hidden) timer = setTimeout(look, wait);
}

function draw({models, load}) {
  lost("");
  const well = models.length && models.every(model =>
    model.versions.some(one => one.version === model.default && one.state === "ready"));
  state(well ? "ready" : "not ready", well ? "ok" : "bad");
  remember(models);
  const data = {...load, queue: padded(past.queue), rows: padded(past.rows)};
  for (const made of charts) made.draw(data);
  drawModels(models);
  offer(models);
}

function miss(fault) {
  wait = Math.min(LONGEST, 2 * wait);
  if (fault.status === 401) {
    state("key wanted", "none");
    lost(key.get() ? "The server does not know this key." : "");
    if (!refusedKey) openKey(true);
    refusedKey = true;
  } else {
    state("no answer", "bad");
    lost(`The server does not answer (${fault.message}). Asking again.`);
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
