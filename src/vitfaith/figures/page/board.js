// The leaderboard: chart, paired differences, table.
const better = () => data.directions[state.metric?.split("\u0001")[0]] ?? "higher";
const boardRows = (condition) => BOARD.filter((row) => same(row, condition) && metricKey(row) === state.metric);
const isBaseline = (method) => method.startsWith("random");

/** Rows in the chosen order; methods that are not compared come last. */
function sorted(rows) {
  if (state.descending === null) { state.sort = "mean"; state.descending = better() === "higher"; }
  const sign = state.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    if (a.compared !== b.compared) return b.compared - a.compared;
    const [p, q] = [a[state.sort], b[state.sort]];
    if (p == null || q == null) return (p == null) - (q == null);
    return sign * (typeof p === "string" ? label(p).localeCompare(label(q)) : p - q);
  });
}

function differences() {
  if (!state.other) return [];
  const [axis, other] = state.other.split("\u0001");
  return PAIRS.filter((row) => here(row) && row.axis === axis && row.other === other && metricKey(row) === state.metric);
}

function drawBoard() {
  const rows = sorted(boardRows(state.condition));
  const place = new Map(rows.map((row, i) => [row.method, i]));
  const points = sides().flatMap(({ condition, name }) => boardRows(condition).filter((row) => place.has(row.method) && row.mean != null)
    .map((row) => ({ ...row, method: label(row.method), place: place.get(row.method), side: name, stars: isBaseline(row.method) ? "" : stars(row.p_adjusted) })));
  const interval = `mean with ${percent(data.confidence)} interval`;
  element("board-caption").textContent = state.metric ? `${metricText(state.metric)}: ${better()} is better` : "";
  const told = { VALUE: `${metricText(state.metric ?? "")}, ${interval}`, BASELINE: label(data.baseline ?? "Random"), SIDES: sides().map((side) => side.name) };
  chart("board-chart", "leaderboard", points, told);
  drawDifferences(place);
  drawTable(rows);
  element("board-note").textContent = boardNote(rows);
}

function drawDifferences(place) {
  element("difference-figure").hidden = !state.other;
  if (!state.other) return;
  const [first, second] = sides().map((side) => side.name);
  const rows = differences().filter((row) => row.difference != null && place.has(row.method))
    .map((row) => ({ ...row, method: label(row.method), place: place.get(row.method), stars: stars(row.p_adjusted) }));
  element("difference-caption").textContent = `Paired difference: ${first} minus ${second}`;
  chart("difference-chart", "differences", rows, { VALUE: `difference in ${metricText(state.metric ?? "")}, on the same images` });
}

/** The table's columns: heading, key to sort by (or none), text of a row. */
function columns() {
  const beside = otherCondition(), other = new Map(beside ? boardRows(beside).map((row) => [row.method, row]) : []);
  const paired = new Map(differences().map((row) => [row.method, row]));
  const bounds = (row) => (row?.low == null ? "–" : `[${shown(row.low)}, ${shown(row.high)}]`);
  const probability = (p) => (p == null ? "–" : `${p < 0.001 ? "< 0.001" : shown(p)} ${stars(p)}`);
  const against = (row) => (isBaseline(row.method) || row.p_adjusted == null ? "–" : stars(row.p_adjusted) || "n. s.");
  const [first, second] = sides().map((side) => side.name);
  return [
    ["method", "method", (row) => label(row.method)], [beside ? `mean, ${first}` : "mean", "mean", (row) => shown(row.mean)],
    ["interval", "low", bounds],
    ...(beside ? [[`mean, ${second}`, null, (row) => shown(other.get(row.method)?.mean)],
      ["paired difference", null, (row) => signed(paired.get(row.method)?.difference)], ["its interval", null, (row) => bounds(paired.get(row.method))],
      ["p (Holm)", null, (row) => probability(paired.get(row.method)?.p_adjusted)]] : []),
    ["images", "n", (row) => (row.compared ? row.n : "–")], [`against ${label(data.baseline ?? "baseline")}`, "p_adjusted", against],
    ["mean, own images", "mean_own", (row) => shown(row.mean_own)],
    ["own images", "n_own", (row) => (row.compared ? row.n_own : `${row.n_own} of ${row.asked}`)], ["flagged", "flagged", (row) => row.flagged],
  ];
}

function drawTable(rows) {
  const parts = columns();
  const head = make("tr", {}, ...parts.map(([text, key]) => {
    if (!key) return make("th", { scope: "col" }, text);
    const arrow = state.sort === key ? (state.descending ? " ▾" : " ▴") : "";
    const sort = () => { state.descending = state.sort === key ? !state.descending : key !== "method"; state.sort = key; draw(); document.querySelector(`[data-sort=${key}]`).focus(); };
    return make("th", { scope: "col", "aria-sort": arrow ? (state.descending ? "descending" : "ascending") : "none" },
      make("button", { type: "button", onclick: sort, "data-sort": key }, text + arrow));
  }));
  const first = rows.find((row) => !row.compared);
  const line = make("tr", { class: "line" }, make("td", { colspan: parts.length }, `not compared: fewer than ${percent(data.coverage)} of the images`));
  element("board").tHead.replaceChildren(head);
  element("board").tBodies[0].replaceChildren(...rows.flatMap((row) => [...(row === first ? [line] : []),
    make("tr", { class: isBaseline(row.method) ? "baseline" : "", "data-method": row.method }, ...parts.map(([, , text]) => make("td", {}, String(text(row)))))]));
}

function boardNote(rows) {
  if (!rows.length) return "No scores in this condition.";
  const left = rows.filter((row) => !row.compared).map((row) => label(row.method));
  return [`${better() === "higher" ? "Higher" : "Lower"} is better.`,
    `Methods are compared on the ${Math.max(0, ...rows.map((r) => r.n))} images that all of them have.`,
    data.baseline ? `Stars mark a difference from ${label(data.baseline)} (Wilcoxon's signed-rank test, Holm over methods): * p < 0.05, ** p < 0.01, *** p < 0.001.` : "",
    state.other ? "Stars in the difference chart mark a difference between the two conditions on the same images." : "",
    "Flagged images (constant map, NaN or undefined score) are in no mean.",
    left.length ? `Not compared, because too few images have a score: ${left.join(", ")}.` : "",
    rows.some((r) => r.compared && r.n < data.small) ? `With fewer than ${data.small} images, intervals are too narrow.` : "",
  ].filter(Boolean).join(" ");
}

element("board-csv").addEventListener("click", () => {
  const paired = new Map(differences().map((row) => [row.method, row]));
  downloadCsv("leaderboard", sides().flatMap(({ condition }) => sorted(boardRows(condition))).map(({ p_adjusted, ...row }) => {
    const pair = here(row) ? paired.get(row.method) : null;
    const told = { ...row, p_against_baseline: p_adjusted };
    return state.other ? { ...told, difference: pair?.difference, difference_low: pair?.low, difference_high: pair?.high, difference_p: pair?.p_adjusted } : told;
  }));
});
