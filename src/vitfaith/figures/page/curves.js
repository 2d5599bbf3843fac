// Perturbation curves, for one condition or two.
const curveKey = (line) => [line.curve, line.variant].join("\u0001");
const CURVE_NAMES = { morf: "most important first", lerf: "least important first", groups: "one group at a time" };
function curveText(key) {
  const [curve, variant] = key.split("\u0001");
  return `${CURVE_NAMES[curve] ?? curve} (${variant})`;
}
const curveRows = (condition) => CURVES.filter((row) => same(row, condition) && curveKey(row) === state.curve);

function drawCurves() {
  const parts = sides().map((side) => ({ ...side, rows: curveRows(side.condition).filter((row) => !state.hidden.has(row.method)) }));
  const top = Math.min(1, 1.02 * Math.max(0.05, ...parts.flatMap(({ rows }) => rows.flatMap((row) => [row.high ?? 0, row.mean ?? 0]))));
  const place = element("curve-charts"), old = [...place.children];
  place.replaceChildren(...parts.map(({ name }, i) => old[i] ?? make("figure", {}, make("figcaption"), make("div", { class: "chart" }))));
  const methods = data.methods.filter((m) => CURVES.some((row) => row.method === m));
  parts.forEach(({ rows, name }, i) => {
    const [caption, node] = place.children[i].children;
    caption.textContent = rows.length ? (parts.length > 1 ? name : "") : "No curves in this condition.";
    const looks = methods.map((m) => data.looks[m]);
    const told = { METHODS: methods.map(label), DASHES: looks.map((l) => l.dash), SHAPES: looks.map((l) => l.shape) };
    chart(node, "curves", rows.map((row) => ({ ...row, colour: data.looks[row.method].colour, method: label(row.method) })), told, { top });
  });
  drawLegend(unique(sides().flatMap(({ condition }) => curveRows(condition).map((row) => row.method))));
}

/** The line of a method as a small picture. */
function sample(look) {
  const holder = make("span");
  holder.innerHTML = `<svg width="26" height="10" aria-hidden="true"><line x1="0" x2="26" y1="5" y2="5" stroke="${look.colour}" stroke-width="2.5" stroke-dasharray="${look.dash.join(" ")}"/></svg>`;
  return holder.firstChild;
}

function drawLegend(methods) {
  replaceControls("legend", ...data.methods.filter((m) => methods.includes(m)).map((method) => make("button",
    { type: "button", id: `line-${method}`, "aria-pressed": String(!state.hidden.has(method)), onclick: () => {
      if (!state.hidden.delete(method)) state.hidden.add(method);
      drawCurves();
    } }, sample(data.looks[method]), label(method))));
}

element("curves-csv").addEventListener("click", () => downloadCsv("curves",
  sides().flatMap(({ condition }) => curveRows(condition)).filter((row) => !state.hidden.has(row.method))));
