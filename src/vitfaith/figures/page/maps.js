// Pictures and maps as canvases, and the details of one map.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const value64 = new Map([...LETTERS].map((letter, i) => [letter, i]));

/** A canvas that `paint(context, image)` fills once the picture is decoded. */
function canvasOf(picture, text, paint) {
  const canvas = make("canvas", { role: "img", "aria-label": text, width: 88, height: 88 });
  const image = new Image();
  image.onload = () => {
    const scale = Math.max(1, Math.round(224 / Math.max(image.naturalWidth, image.naturalHeight)));
    canvas.width = scale * image.naturalWidth;
    canvas.height = scale * image.naturalHeight;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    paint(context, image);
    canvas.dataset.painted = "";
  };
  image.src = SAMPLE.pictures[picture];
  return canvas;
}

const pictureCanvas = (found) => canvasOf(found.picture, `picture ${found.name}`,
  (context, image) => context.drawImage(image, 0, 0, context.canvas.width, context.canvas.height));

function mapCanvas(found, method) {
  const [rows, columns, text] = found.maps[SAMPLE.methods.indexOf(method)];
  return canvasOf(found.picture, `map of ${label(method)} over picture ${found.name}`, (context, image) => {
    const { width, height } = context.canvas;
    if (!text) { // a map without contrast
      context.fillStyle = "#cccccc";
      context.fillRect(0, 0, width, height);
      return;
    }
    context.filter = "grayscale(1)";
    context.drawImage(image, 0, 0, width, height);
    context.filter = "none";
    context.globalAlpha = Number(state.images.map) / 100;
    [...text].forEach((letter, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const [left, right, top, bottom] = [column / columns * width, (column + 1) / columns * width, row / rows * height, (row + 1) / rows * height].map(Math.round);
      context.fillStyle = SAMPLE.colours[value64.get(letter)];
      context.fillRect(left, top, right - left, bottom - top);
    });
  });
}

/** The pairs of groups of a map: first, second, and whether the pair is broken. */
function pairRows(groups, text) {
  const bits = [...text].flatMap((letter) => [5, 4, 3, 2, 1, 0].map((bit) => (value64.get(letter) >> bit) & 1));
  const rows = [];
  for (let i = 1; i <= groups; i++) for (let j = i + 1; j <= groups; j++) rows.push({ first: i, second: j, state: bits[rows.length] ? "broken" : "kept" });
  return rows;
}

function openDetail(found, method) {
  const [, , , broken, scores] = found.maps[SAMPLE.methods.indexOf(method)];
  element("detail-title").textContent = `${label(method)} on ${found.name}`;
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "score"), make("th", { scope: "col" }, "value"))),
    make("tbody", {}, ...SAMPLE.scores.map((key, i) => make("tr", {}, make("td", {}, metricText(key)), make("td", {}, shown(scores[i]))))));
  const where = CONDITION.map((c) => label(found.condition[c])).join(" · ");
  const facts = `${where}. Explained class: ${className(found.condition, found.target)}; predicted: ${className(found.condition, found.prediction)} with probability ${shown(found.probability, 2)}.`;
  const drawings = Object.entries(broken).map(([variant, [groups, text]]) => {
    const rows = pairRows(groups, text), count = rows.filter((row) => row.state === "broken").length;
    const node = make("div", { class: "chart-of-pairs", "data-broken": count });
    chart(node, "pairs", rows);
    return make("figure", {}, make("figcaption", {}, `Broken pairs of SaCo: ${count} of ${rows.length}`),
      make("p", { class: "soft" }, `${variant}. Groups of features are numbered from the most salient. A pair is broken where removing the more salient group changes the answer less.`), node);
  });
  element("detail-body").replaceChildren(make("p", { class: "soft" }, facts), make("div", { class: "detail" },
    make("div", {}, pictureCanvas(found), mapCanvas(found, method)), table, ...(drawings.length ? drawings : [make("p", { class: "soft" }, "No pairs of groups: SaCo was not computed, or is undefined here.")])));
  if (!element("detail").open) element("detail").showModal();
}
