// One value over another, a point per run, and a third as colour.

const MARGIN = { left: 62, right: 16, top: 12, bottom: 30 };
let points = []; // {run, x, y}
let drawScatter;

/** Return the names that are drawn: x, y and colour. */
function scatterNames() {
  const [x, y, third] = list("scatter");
  const first = allImportances()[0]?.[0] ?? differingParams().find((name) => typeof runs[0].params[name] === "number") ?? differingParams()[0];
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  return [x || (first ? `params.${first}` : "created"), y || (metric ? `metrics.${metric}` : "duration"), third ?? ""];
}

function buildScatter(box) {
  const options = ["created", "duration", "step", ...namesOf("params").map((name) => `params.${name}`), ...namesOf("metrics").map((name) => `metrics.${name}`)];
  const choose = (place, label) => {
    const change = (event) => set({ scatter: joined(scatterNames().with(place, event.target.value)) });
    const choices = options.map((name) => h("option", { value: name }, cut(plain(bareName(name)), 40)));
    return h("select", { change, "aria-label": label, "data-place": place }, place === 2 && h("option", { value: "" }, "status"), choices);
  };
  const words = (text) => h("span", { class: "faint" }, text);
  const note = h("p", { class: "tip", hidden: true });
  const canvas = h("canvas", { role: "img", mousemove: pointAt, mouseleave: () => (note.hidden = true), click: openPoint });
  box.replaceChildren(
    h("header", {}, h("h2", { class: "hidden" }, "Scatter"), h("span", { class: "axes" }, choose(1, "Up"), words("over"), choose(0, "Across"), words("by"), choose(2, "Colour"))),
    h("div", { class: "canvas" }, canvas, note),
  );
  drawScatter = whenSeen(canvas.parentElement, scatter);
}

function scatter() {
  const box = document.querySelector("#scatter .canvas");
  const names = scatterNames();
  for (const select of document.querySelectorAll("#scatter select")) select.value = names[select.dataset.place];
  const { context, width, height } = canvasOf(box, 320);
  const [find, findY] = names.map(safeGetter);
  const [across, up] = [axisOf(runs.map(find)), axisOf(runs.map(findY))];
  const inset = (share) => 0.03 + 0.94 * share; // leaves room for the points at the edges
  const toX = (place) => MARGIN.left + inset(place) * (width - MARGIN.left - MARGIN.right);
  const toY = (place) => MARGIN.top + (1 - inset(place)) * (height - MARGIN.top - MARGIN.bottom);
  drawAxes(context, width, height, across.ticks.map(([place, text]) => [toX(place), tickText(names[0], text)]), up.ticks.map(([place, text]) => [toY(place), tickText(names[1], text)]));
  const fill = pointColor(names[2]);
  points = view.runs.map((run) => ({ run, x: toX(across.place(find(run))), y: toY(up.place(findY(run))) })).filter(({ x, y }) => x === x && y === y);
  for (const point of points.toReversed()) drawPoint(context, point, fill(point.run)); // the best ones last
  box.querySelector("canvas").setAttribute("aria-label", `${counted(points.length, "run")}: ${plain(names[1])} over ${plain(names[0])}`);
}

const tickText = (name, text) => (name === "created" ? when(Number(text)).slice(0, -6) : name === "duration" ? duration(Number(text)) : text);

/** Return a function from a run to the colour of its point. */
function pointColor(name) {
  if (!name) return (run) => color(run.status === "stopped" ? "scale-high" : `status-${run.status}`);
  const find = safeGetter(name);
  const { names, place } = axisOf(view.runs.map(find));
  return (run) => {
    const value = find(run);
    if (isMissing(value)) return color("curve-other");
    return names?.length <= CURVES ? curveColor(names.indexOf(valueText(value))) : shade(place(value));
  };
}

function drawPoint(context, { run, x, y }, fill) {
  const isChosen = view.chosen.has(run);
  context.beginPath();
  context.arc(x, y, isChosen ? 6 : 4, 0, 2 * Math.PI);
  context.globalAlpha = isChosen ? 1 : 0.75;
  context.fillStyle = fill;
  context.fill();
  context.strokeStyle = color("text");
  context.lineWidth = 1.5;
  if (isChosen) context.stroke();
  context.globalAlpha = 1;
}

/** Draw lines and texts at places in pixels; the texts across leave out what would touch. */
function drawAxes(context, width, height, across, up) {
  const bottom = height - MARGIN.bottom;
  context.strokeStyle = color("grid");
  context.fillStyle = color("faint");
  context.textAlign = "center";
  context.textBaseline = "top";
  let end = -Infinity;
  for (const [x, text] of across) {
    const half = context.measureText(text).width / 2;
    context.strokeRect(x, MARGIN.top, 0, bottom - MARGIN.top);
    if (x - half < end + 10) continue;
    context.fillText(text, Math.min(x, width - half - 2), bottom + 8);
    end = x + half;
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const [y, text] of up) {
    context.strokeRect(MARGIN.left, y, width - MARGIN.left - MARGIN.right, 0);
    context.fillText(text, MARGIN.left - 8, y, MARGIN.left - 10);
  }
}

function nearestPoint({ offsetX, offsetY }) {
  const far = (point) => (point.x - offsetX) ** 2 + (point.y - offsetY) ** 2;
  return points.filter((point) => far(point) < 200).sort((one, other) => far(one) - far(other))[0];
}

function pointAt(event) {
  const note = event.target.nextSibling;
  const point = nearestPoint(event);
  note.hidden = !point;
  if (!point) return;
  const text = (name, value) => (name === "created" ? when(value) : name === "duration" ? duration(value) : cut(valueText(value), 60));
  const values = scatterNames().filter(Boolean).map((name) => `${plain(bareName(name))} ${text(name, safeGetter(name)(point.run))}`);
  note.textContent = [plain(point.run.short), ...values].join(" · ");
  note.style.left = `${Math.max(0, Math.min(point.x + 10, event.target.clientWidth - note.offsetWidth))}px`;
  note.style.top = `${Math.max(0, point.y - 34)}px`;
}

function openPoint(event) {
  const point = nearestPoint(event);
  if (point) set({ open: point.run.id, compare: "" });
}
