// Small charts as SVG and numbers for people. Text goes in by textContent alone.

const SPACE = "http://www.w3.org/2000/svg";
const WIDE = 240, HIGH = 64;

export function el(name, properties = {}, ...inner) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...inner.filter(part => part != null));
  return made;
}

// write only what changed, so that a selection and a reader of the screen stay where they are
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function seconds(value) {
  if (value == null) return "–";
  if (value < 0.0095) return `${(1000 * value).toFixed(1)} ms`;
  return value < 0.9995 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} s`;
}

export function count(value) {
  if (value == null) return "–";
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k`;
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

// the next round number
export function roof(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(step => step * power).find(step => step >= value * 0.9999);
}

function shape(name, properties) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  return made;
}

// a path with a gap wherever there is no value
function path(values, top, closed) {
  const x = index => (index * WIDE / Math.max(1, values.length - 1)).toFixed(1);
  const y = value => (HIGH - 1 - (HIGH - 4) * Math.min(1, value / top)).toFixed(1);
  let drawn = "", start = null;
  values.forEach((value, index) => {
    if (value == null) return;
    if (values[index - 1] == null) { drawn += `M${x(index)} ${y(value)}h.01`; start = index; }
    else drawn += `L${x(index)} ${y(value)}`;
    if (closed && values[index + 1] == null) drawn += `V${HIGH}H${x(start)}Z`;
  });
  return drawn;
}

// a card with the newest number, its curve, and the scale; draw({name: values}) renews it
export function chart(title, show, lines) {
  const now = el("p", {className: "now"});
  const top = el("span");
  const svg = shape("svg", {viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img"});
  const paths = lines.map((line, index) => ({
    ...line,
    area: index ? null : shape("path", {class: "area"}),
    curve: shape("path", {class: `curve line-${index}`}),
  }));
  svg.append(shape("path", {class: "grid", d: `M0 3H${WIDE}M0 ${HIGH - 1}H${WIDE}`}));
  for (const {area, curve} of paths) svg.append(...[area, curve].filter(Boolean));
  const axis = el("p", {className: "axis soft"}, el("span", {}, "2 min ago"), el("span", {}, "now"));
  const node = el("figure", {className: "card chart"}, el("figcaption", {}, el("span", {}, title), top), now, svg, axis);
  return {node, draw: data => draw(data, {title, show, paths, now, top, svg})};
}

function draw(data, {title, show, paths, now, top, svg}) {
  const all = paths.flatMap(line => data[line.key]).filter(value => value != null);
  const scale = roof(Math.max(...all, Number.MIN_VALUE)) || 1;
  const high = all.some(value => value > 0) ? scale : 1;
  say(top, all.some(value => value > 0) ? `top ${show(high)}` : "");
  const told = paths.map(line => [line, show(data[line.key].at(-1))]);
  while (now.children.length < told.length) now.append(el("span", {}, el("i"), el("b")));
  told.forEach(([line, text], index) => {
    const part = now.children[index];
    part.className = `of-${index}`;
    say(part.firstChild, line.says || "");
    say(part.lastChild, text);
    line.curve.setAttribute("d", path(data[line.key], high, false));
    if (line.area) line.area.setAttribute("d", path(data[line.key], high, true));
  });
  svg.setAttribute("aria-label", `${title}: ${told.map(([line, text]) => `${line.says || "now"} ${text}`).join(", ")}; highest ${all.length ? show(Math.max(...all)) : "–"}`);
}

// shares as bars, best first: [[label, share, text]]
export function bars(rows) {
  return el("ol", {className: "bars"}, ...rows.map(([label, share, text]) => el("li", {},
    el("span", {className: "label"}, label),
    el("span", {className: "num"}, text ?? percent(share)),
    el("meter", {min: 0, max: 1, value: Math.max(0, Math.min(1, share)), ariaLabel: label}))));
}
