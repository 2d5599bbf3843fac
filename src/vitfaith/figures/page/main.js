// The choice of conditions, and the first drawing.

function drawFilters() {
  replaceControls("filters",
    ...CONDITION.map((c) => choice(c, c, data.order[c], state.condition[c], label, (v) => { state.condition[c] = v; })),
    besides());
  const rows = BOARD.filter(here), metrics = unique(rows.map(metricKey)).sort(inOrder(metricText));
  if (!metrics.includes(state.metric)) state.metric = preferred(metrics);
  replaceControls("metric-filter", choice("metric", "metric", metrics, state.metric, metricText, (v) => { state.metric = v; state.descending = null; }));
  const curves = unique(CURVES.filter(here).map(curveKey)).sort(inOrder(curveText));
  if (!curves.includes(state.curve)) state.curve = curves.find((c) => c.startsWith("morf\u0001")) ?? curves[0] ?? null;
  replaceControls("curve-filter", choice("curve", "order of removal", curves, state.curve, curveText, (v) => { state.curve = v; }));
  element("condition-note").textContent = rows.length ? "" : "This combination is not in the experiment; choose another one.";
}

/** The conditions that differ from the chosen one in one thing alone, and were compared with it. */
function besides() {
  const options = unique(PAIRS.filter(here).map((row) => `${row.axis}\u0001${row.other}`));
  if (!options.includes(state.other)) state.other = "";
  const text = (key) => (key === "" ? "nothing" : key.split("\u0001").map((part, i) => (i ? label(part) : part)).join(": "));
  return choice("other", "side by side with", ["", ...options], state.other, text, (v) => { state.other = v; });
}

function draw() {
  drawFilters();
  drawBoard();
  drawCurves();
  drawImages();
}

const [start] = BOARD.filter((row) => CONDITION.slice(2).every((c) => row[c] === data.order[c][0]));
for (const c of CONDITION) state.condition[c] = (start ?? BOARD[0])?.[c] ?? data.order[c][0];
element("facts").textContent = [`${data.methods.length} methods`, `seed ${data.seed}`,
  `${percent(data.confidence)} bootstrap intervals over images (${data.resamples} resamples)`].join("; ") + ". Made by vitfaith.";
draw();
