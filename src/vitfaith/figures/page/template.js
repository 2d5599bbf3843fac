"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const CONDITION = ["dataset", "model", "attack", "smoothing", "explained"];
const label = (name) => data.labels[name] ?? name;
const shown = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
const make = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "g", "path", "line", "text", "circle", "title", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
const state = { condition: {}, metric: null, curve: null, sort: "mean", descending: null, hidden: new Set() };
const here = (row) => CONDITION.every((c) => row[c] === state.condition[c]);
const unique = (values) => [...new Set(values)];

function choice(name, values, current, text, change) {
  const select = make("select", { id: `choose-${name}`, onchange: (event) => { change(event.target.value); draw(); } });
  for (const value of values) {
    const option = make("option", { value }, text(value));
    if (value === current) option.setAttribute("selected", "");
    select.append(option);
  }
  return make("label", { for: `choose-${name}` }, name, select);
}

const metricKey = (row) => [row.metric, row.variant, row.reference].join("\u0001");
const metricText = (key) => {
  const [metric, variant, reference] = key.split("\u0001");
  return label(metric) + (variant ? ` (${variant})` : "") + (reference ? `, against ${reference}` : "");
};
const variantPlace = new Map(data.variants.map((v, i) => [v, i])); // k=5 before k=10, 0.05 before 0.1
const inOrder = (text) => (a, b) => {
  const [[p, v], [q, w]] = [a, b].map((key) => key.split("\u0001"));
  return label(p).localeCompare(label(q)) || variantPlace.get(v) - variantPlace.get(w) || text(a).localeCompare(text(b));
};
const curveKey = (line) => [line.curve, line.variant].join("\u0001");
const CURVES = { morf: "most important first", lerf: "least important first", groups: "one group at a time" };
const curveText = (key) => {
  const [curve, variant] = key.split("\u0001");
  return `${CURVES[curve] ?? curve} (${variant})`;
};

function drawFilters() {
  document.getElementById("filters").replaceChildren(
    ...CONDITION.map((c) => choice(c, data.order[c], state.condition[c], label, (v) => { state.condition[c] = v; })));
  const metrics = unique(data.board.filter(here).map(metricKey)).sort(inOrder(metricText));
  if (!metrics.includes(state.metric)) state.metric = metrics.find((m) => m.startsWith("saco\u0001")) ?? metrics[0] ?? null;
  document.getElementById("metric-filter").replaceChildren(
    choice("metric", metrics, state.metric, metricText, (v) => { state.metric = v; state.descending = null; }));
  const curves = unique(data.curves.filter(here).map(curveKey)).sort(inOrder(curveText));
  if (!curves.includes(state.curve)) state.curve = curves.find((c) => c.startsWith("morf\u0001")) ?? curves[0] ?? null;
  document.getElementById("curve-filter").replaceChildren(
    choice("curve", curves, state.curve, curveText, (v) => { state.curve = v; }));
}

function intervalBar(row, low, high) {
  const width = 220, x = (v) => 6 + ((v - low) / (high - low || 1)) * (width - 12);
  const svg = make("svg", { width, height: 16, role: "img", "aria-label": `${shown(row.low)} to ${shown(row.high)}` });
  if (low < 0 && high > 0) svg.append(make("line", { x1: x(0), x2: x(0), y1: 0, y2: 16, stroke: "#bbb" }));
  const colour = data.colours[row.method];
  if (row.low !== null) svg.append(make("line", { x1: x(row.low), x2: x(row.high), y1: 8, y2: 8, stroke: colour, "stroke-width": 2 }));
  if (row.mean !== null) svg.append(make("circle", { cx: x(row.mean), cy: 8, r: 4, fill: colour }));
  return svg;
}

function drawBoard() {
  const rows = data.board.filter((row) => here(row) && metricKey(row) === state.metric);
  const metric = state.metric?.split("\u0001")[0];
  const better = data.directions[metric] ?? "higher";
  if (state.descending === null) { state.sort = "mean"; state.descending = better === "higher"; }
  const sign = state.descending ? -1 : 1;
  rows.sort((a, b) => {
    if (a.compared !== b.compared) return b.compared - a.compared;
    const [p, q] = [a[state.sort], b[state.sort]];
    if (p === null || q === null) return (p === null) - (q === null);
    return sign * (typeof p === "string" ? label(p).localeCompare(label(q)) : p - q);
  });
  const bounds = rows.flatMap((r) => [r.low, r.high, r.mean]).filter((v) => v !== null);
  const [low, high] = [Math.min(0, ...bounds), Math.max(0, ...bounds)];
  const columns = [["method", "method"], ["mean", "mean"], ["low", "interval"], ["n", "n"], ["mean_own", "own images"], ["n_own", "n"], ["flagged", "flagged"]];
  const head = make("tr", {}, ...columns.map(([key, text]) => {
    const arrow = state.sort === key ? (state.descending ? " ▾" : " ▴") : "";
    const sort = () => { state.descending = state.sort === key ? !state.descending : key !== "method"; state.sort = key; drawBoard(); };
    return make("th", { "aria-sort": arrow ? (state.descending ? "descending" : "ascending") : "none" },
      make("button", { onclick: sort, "data-sort": key }, text + arrow));
  }), make("th", {}, ""));
  const first = rows.find((row) => !row.compared);
  const line = make("tr", { class: "line" }, make("td", { colspan: columns.length + 1 },
    `not compared: fewer than ${100 * data.coverage} % of the images`));
  const body = rows.flatMap((row) => [...(row === first ? [line] : []), make("tr", { class: row.method.startsWith("random") ? "baseline" : "", "data-method": row.method },
    make("td", {}, label(row.method)),
    make("td", { class: "number" }, shown(row.mean)),
    make("td", { class: "number" }, row.low === null ? "–" : `[${shown(row.low)}, ${shown(row.high)}]`),
    make("td", { class: "number" }, row.compared ? String(row.n) : "–"),
    make("td", { class: "number" }, shown(row.mean_own)),
    make("td", { class: "number" }, row.compared ? String(row.n_own) : `${row.n_own} of ${row.asked}`),
    make("td", { class: "number" }, String(row.flagged)),
    make("td", {}, intervalBar(row, low, high)))]);
  const table = document.getElementById("board");
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...body);
  document.getElementById("board-note").textContent = metric === undefined ? "No scores in this condition."
    : [`${better === "higher" ? "Higher" : "Lower"} is better.`,
      `Methods are compared on the ${Math.max(0, ...rows.map((r) => r.n))} images that all of them have; the mean over a method's own images stands beside.`,
      "Flagged images (constant map, NaN or undefined score) are in no mean.",
      ...(first ? [`Not compared, for lack of images: ${rows.filter((r) => !r.compared).map((r) => label(r.method)).join(", ")}.`] : []),
      ...(rows.some((r) => r.compared && r.n < data.small) ? [`With fewer than ${data.small} images intervals are too narrow.`] : []),
    ].join(" ");
}

function drawCurves() {
  const lines = data.curves.filter((l) => here(l) && curveKey(l) === state.curve);
  const [width, height, left, bottom] = [680, 320, 52, 40];
  const highest = Math.max(0.05, ...lines.flatMap((l) => [...l.high, ...l.mean]).filter((v) => v !== null));
  const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((s) => highest <= 5 * s) ?? 0.2, top = Math.ceil(highest / step - 1e-9) * step;
  const x = (v) => left + v * (width - left - 26), y = (v) => height - bottom - (v / top) * (height - bottom - 12);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img", "aria-label": "perturbation curves" });
  for (let level = 0; level < top + step / 2; level += step) {
    svg.append(make("line", { x1: left, x2: width - 26, y1: y(level), y2: y(level), stroke: "#e6e6e6" }));
    svg.append(make("text", { x: left - 8, y: y(level) + 4, "text-anchor": "end" }, level.toFixed(2)));
  }
  for (const share of [0, 20, 40, 60, 80, 100]) {
    svg.append(make("text", { x: x(share / 100), y: height - bottom + 18, "text-anchor": "middle" }, `${share} %`));
  }
  svg.append(make("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, "share of the image replaced"));
  svg.append(make("text", { x: -(height - bottom) / 2, y: 13, transform: "rotate(-90)", "text-anchor": "middle" }, "probability"));
  for (const line of lines) {
    if (state.hidden.has(line.method)) continue;
    const at = line.x.map((v, i) => i).filter((i) => line.mean[i] !== null), colour = data.colours[line.method];
    const path = (values, order) => order.map((i) => `${x(line.x[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`).join(" L ");
    const banded = at.filter((i) => line.low[i] !== null);
    if (banded.length) svg.append(make("path", { d: `M ${path(line.high, banded)} L ${path(line.low, [...banded].reverse())} Z`, fill: colour, opacity: 0.13 }));
    svg.append(make("path", { d: `M ${path(line.mean, at)}`, fill: "none", stroke: colour, "stroke-width": 2, "data-line": line.method }));
    for (const i of at) svg.append(make("circle", { cx: x(line.x[i]), cy: y(line.mean[i]), r: 6, fill: "transparent" },
      make("title", {}, `${label(line.method)}, ${(100 * line.x[i]).toFixed(0)} % replaced: ${shown(line.mean[i])} [${shown(line.low[i])}, ${shown(line.high[i])}], n = ${line.n}`)));
  }
  document.getElementById("curves").replaceChildren(lines.length ? svg : make("p", {}, "No curves in this condition."));
  document.getElementById("legend").replaceChildren(...lines.map((line) => make("button",
    { "aria-pressed": String(!state.hidden.has(line.method)), onclick: () => {
      if (!state.hidden.delete(line.method)) state.hidden.add(line.method);
      drawCurves();
    } }, make("span", { class: "swatch", style: `background:${data.colours[line.method]}` }), label(line.method))));
}

function drawGallery() {
  const rows = data.gallery.filter(here);
  const methods = data.methods.filter((m) => rows.some((r) => m in r.maps));
  const head = make("tr", {}, make("th", {}, "image"), ...methods.map((m) => make("th", {}, label(m))));
  const body = rows.map((row) => make("tr", {},
    make("td", {}, make("img", { src: data.pictures[row.picture], alt: row.image_id }), `${row.role} `,
      make("span", { class: row.prediction === row.target ? "" : "wrong" }, `${row.name}: ${shown(row.probability, 2)}`)),
    ...methods.map((m) => m in row.maps
      ? make("td", {}, make("img", { src: data.pictures[row.maps[m].picture], alt: `${label(m)} of ${row.image_id}` }), shown(row.maps[m].saco, 2))
      : make("td", {}, "–"))));
  document.getElementById("gallery").replaceChildren(rows.length ? make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))
    : make("p", {}, "No images in this condition."));
}

function draw() { drawFilters(); drawBoard(); drawCurves(); drawGallery(); }

for (const c of CONDITION) state.condition[c] = data.order[c][0];
document.getElementById("title").textContent = `${data.experiment}: faithfulness of explanations`;
document.getElementById("facts").textContent =
  `${data.methods.length} methods; seed ${data.seed}; ${100 * data.confidence} % bootstrap intervals over images (${data.resamples} resamples). Made by vitfaith.`;
draw();
