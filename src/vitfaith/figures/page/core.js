// What all parts of the page share: the data, the state, elements, numbers, and the chosen condition.
const data = JSON.parse(document.getElementById("data").textContent);
const CONDITION = ["dataset", "model", "attack", "smoothing", "explained"];
const state = {
  condition: {}, other: "", metric: null, curve: null, sort: "mean", descending: null, hidden: new Set(),
  images: { method: null, score: null, order: "descending", which: "all", target: "", low: "", high: "", name: "", page: 0, map: 60 },
};

const element = (id) => document.getElementById(id);
const label = (name) => data.labels[name] ?? name;
const unique = (values) => [...new Set(values)];
const shown = (value, digits = 3) => (value == null ? "–" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−"));
const signed = (value) => (value == null ? "–" : (value > 0 ? "+" : "") + shown(value));
const stars = (p) => (p == null ? "" : p < 0.001 ? "***" : p < 0.01 ? "**" : p < 0.05 ? "*" : "");
const percent = (share) => `${+(100 * share).toFixed(4)} %`;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Rows of a table that came column by column. */
function unpacked(table) {
  const columns = Object.entries(table).map(([name, column]) =>
    [name, Array.isArray(column) ? column : column.codes.map((code) => column.levels[code])]);
  return (columns[0]?.[1] ?? []).map((_, i) => Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
}
const BOARD = unpacked(data.board), PAIRS = unpacked(data.pairs), CURVES = unpacked(data.curves);

const same = (row, condition) => CONDITION.every((c) => row[c] === condition[c]);
const here = (row) => same(row, state.condition);

/** The condition that stands beside the chosen one, or null. */
function otherCondition() {
  if (!state.other) return null;
  const [axis, value] = state.other.split("\u0001");
  return { ...state.condition, [axis]: value };
}

/** The chosen conditions, each with a short name. */
function sides() {
  const other = otherCondition();
  if (!other) return [{ condition: state.condition, name: "this condition" }];
  const axis = state.other.split("\u0001")[0];
  return [state.condition, other].map((condition) => ({ condition, name: `${axis}: ${label(condition[axis])}` }));
}

/** A labelled choice among values. */
function choice(id, text, values, current, textOf, change) {
  const select = make("select", { id: `choose-${id}`, onchange: (event) => { change(event.target.value); draw(); } });
  for (const value of values) select.append(make("option", { value, selected: value === current }, textOf(value)));
  return make("label", { for: `choose-${id}` }, text, select);
}

/** Replace the controls in a place without losing the keyboard's focus. */
function replaceControls(place, ...nodes) {
  const focused = document.activeElement?.id;
  element(place).replaceChildren(...nodes);
  if (focused && element(place).contains(element(focused))) element(focused).focus();
}

const metricKey = (row) => [row.metric, row.variant, row.reference ?? ""].join("\u0001");
function metricText(key) {
  const [metric, variant, reference] = key.split("\u0001");
  return label(metric) + (variant ? ` (${variant})` : "") + (reference ? `, against ${reference}` : "");
}
/** The score to show first: SaCo with ten groups, else SaCo, else the first one. */
const preferred = (keys) => keys.find((k) => k === "saco\u0001k=10\u0001") ?? keys.find((k) => k.startsWith("saco\u0001")) ?? keys[0] ?? null;
const variantPlace = new Map(data.variants.map((v, i) => [v, i])); // k=5 before k=10, 0.05 before 0.1
const inOrder = (text) => (a, b) => {
  const [[p, v], [q, w]] = [a, b].map((key) => key.split("\u0001"));
  return label(p).localeCompare(label(q)) || variantPlace.get(v) - variantPlace.get(w) || text(a).localeCompare(text(b));
};

/** Draw a chart: its specification with rows, words or lists (%NAME%) and parameters filled in. */
function chart(place, name, rows, words = {}, parameters = {}) {
  const filled = JSON.stringify(data.charts[name])
    .replace(/"%([A-Z]+)%"/g, (whole, word) => (Array.isArray(words[word]) ? JSON.stringify(words[word]).slice(1, -1) : whole))
    .replace(/%([A-Z]+)%/g, (_, word) => JSON.stringify(words[word] ?? "").slice(1, -1));
  const single = words.SIDES?.length === 1 ? filled.replaceAll('"legend":{"title":null}', '"legend":null') : filled;
  const spec = { ...JSON.parse(single), datasets: { ...data.charts[name].datasets, rows } };
  spec.params = (spec.params ?? []).map((p) => (p.name in parameters ? { ...p, value: parameters[p.name] } : p));
  spec.description = { leaderboard: `Means by method: ${words.VALUE}`, differences: `Paired differences by method: ${words.VALUE}`,
    curves: "Probability of the explained class against the share of the image replaced, a line per method",
    pairs: "Pairs of groups, kept or broken" }[name];
  const node = typeof place === "string" ? element(place) : place;
  node.dataset.rows = rows.length;
  return vegaEmbed(node, spec, { actions: false, renderer: "svg", ast: true })
    .then(() => { node.dataset.drawn = String(1 + Number(node.dataset.drawn ?? 0)); })
    .catch((error) => { document.title = `ERROR ${error.message}`; });
}

/** Offer rows (objects with the same keys) as a CSV file. */
function downloadCsv(name, rows) {
  const quoted = (value) => (value == null ? "" : /[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const head = Object.keys(rows[0] ?? {});
  const text = [head, ...rows.map((row) => head.map((key) => row[key]))].map((line) => line.map(quoted).join(",")).join("\r\n");
  const link = make("a", { href: URL.createObjectURL(new Blob([text + "\r\n"], { type: "text/csv" })), download: `${data.experiment}_${name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  window.lastCsv = text;
}
