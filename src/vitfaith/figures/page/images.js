// Sampled images: filtered, sorted, each with its maps over the picture.
const SAMPLE = data.sample;
const SHOWN = 12;
const conditionKey = (condition) => CONDITION.map((c) => condition[c]).join("\u0001");
const conditionPlace = new Map(SAMPLE.conditions.map((values, i) => [values.join("\u0001"), i]));
const byCondition = SAMPLE.conditions.map(() => new Map());
for (const entry of SAMPLE.entries) byCondition[entry[0]].set(entry[1], entry);

/** What the sample knows of an image in a condition, or null. */
function shownImage(image, condition) {
  const entry = byCondition[conditionPlace.get(conditionKey(condition))]?.get(image);
  if (!entry) return null;
  const [, , picture, target, prediction, probability, maps] = entry;
  return { image, name: SAMPLE.images[image].name, label: SAMPLE.images[image].label, picture, target, prediction, probability, maps, condition };
}
const className = (condition, number) => SAMPLE.classes[`${condition.dataset}\u0001${condition.model}`]?.[number] ?? `class ${number}`;
const scoreOf = (shown, method) => shown.maps[SAMPLE.methods.indexOf(method)]?.[4][SAMPLE.scores.indexOf(state.images.score)] ?? null;

/** Images of the chosen condition that pass the filters, in the chosen order. */
function chosenImages() {
  const own = state.images, number = (text) => (text === "" ? null : Number(text));
  const [low, high] = [number(own.low), number(own.high)];
  const found = SAMPLE.images.map((_, image) => shownImage(image, state.condition)).filter(Boolean).filter((one) => {
    const score = scoreOf(one, own.method);
    return (own.which === "all" || (own.which === "changed") === (one.prediction !== one.target))
      && (own.target === "" || one.target === Number(own.target)) && one.name.includes(own.name)
      && (low === null || (score !== null && score >= low)) && (high === null || (score !== null && score <= high));
  });
  const sign = own.order === "descending" ? -1 : 1;
  return found.sort((a, b) => {
    const [p, q] = [a, b].map((one) => scoreOf(one, own.method));
    return p === null || q === null ? (p === null) - (q === null) : sign * (p - q) || a.image - b.image;
  });
}

function drawImageFilters() {
  const own = state.images, first = () => { own.page = 0; };
  const present = SAMPLE.images.map((_, i) => shownImage(i, state.condition)).filter(Boolean);
  const methods = data.methods.filter((m) => SAMPLE.methods.includes(m));
  if (!methods.includes(own.method)) own.method = methods.find((m) => !isBaseline(m)) ?? methods[0];
  const scores = [...SAMPLE.scores].sort(inOrder(metricText));
  if (!scores.includes(own.score)) own.score = preferred(scores);
  const targets = unique(present.map((one) => one.target)).sort((a, b) => a - b).map(String);
  if (own.target !== "" && !targets.includes(own.target)) own.target = "";
  const field = (id, text, type, extra = {}) => make("label", { for: `choose-${id}` }, text,
    make("input", { id: `choose-${id}`, type, value: own[id], ...extra, onchange: (event) => { own[id] = event.target.value; first(); draw(); } }));
  const set = (key) => (value) => { own[key] = value; first(); };
  replaceControls("image-filters",
    choice("image-score", "score", scores, own.score, metricText, set("score")),
    choice("image-method", "of the map of", methods, own.method, label, set("method")),
    choice("image-order", "order", ["descending", "ascending"], own.order, (v) => (v === "descending" ? "highest first" : "lowest first"), set("order")),
    choice("image-which", "images", ["all", "changed", "kept"], own.which, (v) => ({ all: "all", changed: "predicted ≠ explained class", kept: "predicted = explained class" })[v], set("which")),
    choice("image-target", "explained class", ["", ...targets], own.target, (v) => (v === "" ? "all" : className(state.condition, Number(v))), set("target")),
    field("low", "score from", "number", { step: "any" }), field("high", "to", "number", { step: "any" }),
    field("name", "file name contains", "search"), field("map", "map over picture, %", "number", { min: 0, max: 100, step: 10 }));
}

function drawImages() {
  const { number, asked, total, reason } = SAMPLE.drawn;
  element("images-sample").textContent = number === 0 ? "The tables hold no sampled images."
    : number === total ? `All ${total} images.`
    : `A random sample of ${number} of ${total} images, drawn with seed ${data.seed} without regard to any score${reason ? ` (${asked} were drawn; the others do not fit a page of this size)` : ""}. Means above are over all images.`;
  drawImageFilters();
  const found = chosenImages(), own = state.images;
  own.page = Math.max(0, Math.min(own.page, Math.ceil(found.length / SHOWN) - 1));
  const start = own.page * SHOWN;
  element("images-count").textContent = found.length ? `${found.length} images match; ${start + 1}–${Math.min(found.length, start + SHOWN)} are shown.` : "No image matches.";
  const bar = make("span", { class: "scale", style: `background: linear-gradient(to right, ${SAMPLE.colours.join(",")})` });
  element("images-legend").replaceChildren("Each map lies over the grey picture: ", "least important to this method ", bar,
    ` most important; every map is scaled to its own range, and a plain grey square is a map without contrast. The number below a map is its ${metricText(own.score ?? "")}. `,
    "A class in red with ≠ is not the explained class. Press a map for all its scores and its broken pairs.");
  element("images").style.setProperty("--tiles", SAMPLE.methods.length + 1);
  element("images").replaceChildren(...found.slice(start, start + SHOWN).map(card));
  element("page-number").textContent = `page ${own.page + 1} of ${Math.max(1, Math.ceil(found.length / SHOWN))}`;
  element("previous").disabled = own.page === 0;
  element("next").disabled = start + SHOWN >= found.length;
}

function card(one) {
  const told = one.label ? `${one.name} – label: ${one.label}` : one.name;
  const parts = sides().map(({ condition, name }) => ({ name, found: shownImage(one.image, condition) })).filter(({ found }) => found);
  return make("article", { class: "card", "data-image": one.name }, make("h3", {}, told), ...parts.flatMap(({ name, found }) => [
    ...(parts.length > 1 ? [make("p", { class: "side" }, name)] : []), strip(found)]));
}

function strip(found) {
  const changed = found.prediction !== found.target;
  const picture = make("div", { class: "tile" }, pictureCanvas(found), make("span", {}, `explained: ${className(found.condition, found.target)}`), make("br"),
    make("span", { class: changed ? "changed" : "" }, `predicted: ${className(found.condition, found.prediction)} ${shown(found.probability, 2)}`));
  const methods = data.methods.filter((m) => found.maps[SAMPLE.methods.indexOf(m)]);
  return make("div", { class: "strip" }, picture, ...methods.map((method) => {
    const score = shown(scoreOf(found, method), 2);
    return make("button", { type: "button", class: "tile", "data-map": method, "aria-label": `${label(method)} on ${found.name}, score ${score}: details`, onclick: () => openDetail(found, method) },
      mapCanvas(found, method), make("span", {}, label(method)), make("br"), make("span", {}, score));
  }));
}

element("previous").addEventListener("click", () => { state.images.page -= 1; drawImages(); });
element("next").addEventListener("click", () => { state.images.page += 1; drawImages(); });
element("images-csv").addEventListener("click", () => downloadCsv("images", sides().flatMap(({ condition }) =>
  chosenImages().map((one) => shownImage(one.image, condition)).filter(Boolean).flatMap((one) => data.methods.filter((m) => one.maps[SAMPLE.methods.indexOf(m)]).map((method) => ({
    ...condition, image_id: one.name, method, explained_class: className(condition, one.target), predicted_class: className(condition, one.prediction),
    ...Object.fromEntries(SAMPLE.scores.map((key, i) => [metricText(key), one.maps[SAMPLE.methods.indexOf(method)][4][i]])),
  }))))));
