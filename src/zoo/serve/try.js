// The box that tries a model: fields for what it can do, and its answer. What a model or a server
// says is text, never HTML: it goes in by textContent.

import {bars, el, percent, say, seconds} from "./charts.js";
import {events, request} from "./server.js";

const at = id => document.getElementById(id);
const kept = new Map();  // what was typed, by field: it survives a change of model

const text = (name, label, value, more = {}) => ({name, label, value, make: area, ...more});
const lines = (name, label, value) => text(name, label, value, {list: true});
const number = (name, label, value, more) => ({name, label, value, make: numeral, small: true, ...more});
const picture = {name: "image", label: "Picture", make: file};

const KINDS = {
  complete: {
    says: "Continue a text",
    fields: [
      text("prompt", "Text to continue", "The house"),
      number("max_tokens", "New tokens at most", 32, {min: 1, step: 1}),
      number("temperature", "Temperature", 0.8, {min: 0, max: 100, step: "any"}),
      number("seed", "Seed (empty: drawn)", "", {min: 0, step: 1}),
    ],
    run: complete,
  },
  embed: {
    says: "Compare two texts",
    fields: [text("one", "One text", "A cat in the garden"), text("other", "Another", "A dog in the house")],
    run: embed,
  },
  fill: {
    says: "Fill the gap",
    fields: [text("gap", "Text with [MASK] where a word is missing", "The [MASK] is red.")],
    run: fill,
  },
  "classify text": {
    says: "Sort a text",
    fields: [text("sort", "Text", "You have won a prize")],
    run: values => classify(values.model, {input: values.sort}, values.signal),
  },
  "classify picture": {
    says: "Name a picture",
    fields: [picture],
    run: values => classify(values.model, {image: values.image}, values.signal),
  },
  "classify among": {
    says: "Name a picture among labels",
    fields: [picture, lines("labels", "Labels, one a line", "a cat\na dog\na house")],
    run: values => classify(values.model, {image: values.image, labels: values.labels}, values.signal),
  },
  match: {
    says: "Match a picture with texts",
    fields: [picture, lines("texts", "Texts, one a line", "a cat\na dog\na house")],
    run: match,
  },
};

// the kinds of KINDS that a model does, by what the server says about it
function kindsOf(about) {
  const seeing = {match: "classify among", image: "classify picture"};
  return (about?.verbs || [])
    .map(verb => verb === "classify" ? seeing[about.head] || "classify text" : verb)
    .filter(kind => kind in KINDS);
}

// ---- fields

function area({name, label, value, list}) {
  const rows = list ? 3 : 2;
  return field(name, label, el("textarea", {rows, value: kept.get(name) ?? value, required: true}));
}

function numeral({name, label, value, min, max, step}) {
  const input = el("input", {type: "number", inputMode: "decimal", step, min, max: max ?? ""});
  input.value = kept.get(name) ?? value;
  input.required = value !== "";
  return field(name, label, input);
}

function file({name, label}) {
  const input = el("input", {type: "file", accept: "image/*", required: true});
  const shown = el("img", {className: "shown", alt: "The picture that was chosen", hidden: true});
  input.addEventListener("change", async () => {
    shown.hidden = !input.files.length;
    if (input.files.length) shown.src = await dataUrl(input.files[0]);
  });
  const made = field(name, label, input);
  made.append(shown);
  return made;
}

function field(name, label, input) {
  input.id = `in-${name}`;
  input.name = name;
  input.addEventListener("input", () => input.type === "file" || kept.set(name, input.value));
  return el("div", {}, el("label", {htmlFor: input.id}, label), input);
}

function dataUrl(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

async function valuesOf(fields) {
  const found = {};
  for (const {name, make, list} of fields) {
    const input = at(`in-${name}`);
    if (make === file) found[name] = await dataUrl(input.files[0]);
    else if (make === numeral) found[name] = input.value === "" ? null : Number(input.value);
    else found[name] = list ? input.value.split("\n").map(line => line.trim()).filter(Boolean) : input.value;
  }
  return found;
}

// ---- what each kind asks and shows

async function complete({model, prompt, max_tokens, temperature, seed, signal}) {
  const body = {model, prompt, max_tokens, temperature, seed, stream: true, stream_options: {include_usage: true}};
  const made = el("span", {className: "made"});
  const note = el("p", {className: "soft small"});
  show(el("p", {className: "text"}, el("span", {className: "soft"}, prompt), made), note);
  const start = performance.now();
  let first, usage, why;
  for await (const told of events(await request("v1/completions", {body, signal}))) {
    first ??= (performance.now() - start) / 1000;
    usage = told.usage || usage;
    for (const choice of told.choices) {
      made.append(choice.text);
      why = choice.finish_reason || why;
    }
  }
  const after = (performance.now() - start) / 1000;
  const tokens = usage?.completion_tokens;
  const words = [tokens != null && `${tokens} tokens, ${(tokens / after).toFixed(0)} a second`,
    first && `the first after ${seconds(first)}`, why && `ended by ${why === "stop" ? "a stop" : "length"}`];
  say(note, words.filter(Boolean).join(" · "));
}

async function embed({model, one, other, signal}) {
  const answer = await request("v1/embeddings", {body: {model, input: [one, other]}, signal});
  const [a, b] = (await answer.json()).data.map(row => row.embedding);
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  show(bars([["likeness (cosine)", cosine, cosine.toFixed(3)]]),
    el("p", {className: "soft small"}, `vectors of ${a.length} numbers; 1 is the same direction`));
}

async function fill({model, gap, signal}) {
  const answer = await request("v1/fill", {body: {model, input: gap}, signal});
  const [{masks}] = (await answer.json()).data;
  show(...masks.flatMap((guesses, i) => [
    masks.length > 1 ? el("h3", {}, `Gap ${i + 1}`) : null,
    bars(guesses.map(guess => [guess.token, guess.probability])),
    guesses.length ? el("p", {className: "text"}, guesses[0].filled) : null,
  ]));
}

async function classify(model, asked, signal) {
  const answer = await request("v1/classify", {body: {model, ...asked}, signal});
  const [{labels}] = (await answer.json()).data;
  show(bars(labels.map(found => [found.label, found.probability])));
}

async function match({model, image, texts, signal}) {
  const answer = await request("v1/match", {body: {model, image, text: texts}, signal});
  const {cosines: [near], probabilities: [shares]} = await answer.json();
  const order = texts.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  show(bars(order.map(i => [texts[i], shares[i], `${percent(shares[i])} · cosine ${near[i].toFixed(2)}`])));
}

function show(...parts) {
  at("answer").replaceChildren(...parts.filter(Boolean));
}

// ---- the box

let models = [], running = null, drawn = "";

function options(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, label]) => el("option", {value}, label)));
  if (pairs.some(([value]) => value === before)) select.value = before;
}

function redraw() {
  const kinds = kindsOf(models.find(([name]) => name === at("model").value)?.[1]);
  options(at("verb"), kinds.map(kind => [kind, KINDS[kind].says]));
  refields();
}

function refields() {
  const fields = KINDS[at("verb").value]?.fields || [];
  const [large, small] = [fields.filter(one => !one.small), fields.filter(one => one.small)];
  at("inputs").replaceChildren(...large.map(one => one.make(one)),
    ...small.length ? [el("div", {className: "fields"}, ...small.map(one => one.make(one)))] : []);
  at("run").disabled = !fields.length || running != null;
}

async function run(event) {
  event.preventDefault();
  const kind = KINDS[at("verb").value];
  const start = performance.now();
  running = new AbortController();
  turn(true);
  try {
    const values = await valuesOf(kind.fields);
    await kind.run({...values, model: at("model").value, signal: running.signal});
    say(at("took"), `took ${seconds((performance.now() - start) / 1000)}`);
  } catch (fault) {
    if (fault.name === "AbortError") say(at("took"), "stopped");
    else complain(fault);
  } finally {
    running = null;
    turn(false);
  }
}

function complain(fault) {
  const head = fault.status ? `Refused (${fault.status})` : "No answer";
  const again = fault.again ? ` Come back in ${fault.again} s.` : "";
  say(at("took"), "");
  show(el("p", {className: "note bad"}, el("b", {}, head), `: ${fault.message}${again}`));
}

function turn(on) {
  at("run").disabled = on;
  at("stop").hidden = !on;
  at("answer").setAttribute("aria-busy", String(on));
  if (on) say(at("took"), "asking");
}

// take in the models that answer now; nothing is drawn anew unless they changed
export function offer(told) {
  const found = told.flatMap(({name, default: first, versions}) => {
    const ready = versions.filter(({state}) => state === "ready");
    const whole = ready.filter(({version}) => version === first).map(({about}) => [name, about]);
    return [...whole, ...ready.length > 1 ? ready.map(({version, about}) => [`${name}@${version}`, about]) : []];
  });
  if (JSON.stringify(found) === drawn) return;
  drawn = JSON.stringify(found);
  models = found;
  options(at("model"), models.map(([name]) => [name, name]));
  redraw();
}

at("model").addEventListener("change", redraw);
at("verb").addEventListener("change", refields);
at("ask").addEventListener("submit", run);
at("stop").addEventListener("click", () => running?.abort());
