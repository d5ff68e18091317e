// One value over another, a point per run, and a third as colour.

const MARGIN = { left: 62, right: 16, top: 12, bottom: 30 };

/** Return a context to draw on, in the sizes of the page; the canvas fills its box. */
function canvasOf(box, height) {
  const canvas = box.querySelector("canvas");
  const width = box.clientWidth;
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = "12px system-ui, sans-serif";
  return { context, width, height };
}

/** Return an axis for values: {place: value → 0 to 1, ticks: [[place, text]], names}. A few values stand evenly apart. */
function axisOf(values, few = 0) {
  const known = values.filter((value) => !isMissing(value));
  const distinct = [...new Set(known)];
  const areNumbers = distinct.every((value) => typeof value === "number");
  if (areNumbers && distinct.length > few) return numericAxis(known.filter(Number.isFinite));
  const names = areNumbers ? distinct.sort((one, other) => one - other).map(valueText) : [...new Set(distinct.map(valueText))].sort();
  const place = (value) => (isMissing(value) ? NaN : (names.indexOf(valueText(value)) + 0.5) / names.length);
  const stride = Math.ceil(names.length / 12);
  const ticks = names.filter((_, at) => at % stride === 0).map((name) => [(names.indexOf(name) + 0.5) / names.length, cut(name, 14)]);
  return { place, ticks, names, known: known.length };
}

function numericAxis(numbers) {
  let [low, high] = numbers.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  if (low > high) [low, high] = [0, 1];
  const isLog = low > 0 && high / low >= 50;
  if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const share = isLog ? (value) => Math.log(value / low) / Math.log(high / low) : (value) => (value - low) / (high - low);
  const value = isLog ? (at) => low * (high / low) ** at : (at) => low + (high - low) * at;
  const place = (number) => (typeof number === "number" && Number.isFinite(number) ? share(number) : NaN);
  const ticks = (isLog ? logTicks(low, high) : evenTicks(low, high)).map((tick) => [share(tick), short(tick, 4)]);
  return { place, value, ticks, isLog, low, high, known: numbers.length };
}

function evenTicks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-12); at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const factors = high / low > 1e4 ? [1] : high / low > 300 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) ticks.push(Number(`${factor}e${power}`));
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

/** Return a colour between the two ends of the scale, for 0 to 1. */
function shade(share) {
  const ends = [color("scale-low"), color("scale-high")].map((text) => text.match(/[\d.]+/g).map(Number));
  const mixed = [0, 1, 2].map((part) => Math.round(ends[0][part] + (ends[1][part] - ends[0][part]) * Math.max(0, Math.min(1, share))));
  return `rgb(${mixed.join(", ")})`;
}

/** Return the names that are drawn: x, y and colour. */
function scatterNames() {
  const [x, y, third] = list("scatter");
  const differing = namesOf("params").filter((name) => !isConstant(name));
  const first = importances(runs)[0]?.[0] ?? differing.find((name) => typeof runs[0].params[name] === "number") ?? differing[0];
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  return [x || (first ? `params.${first}` : "created"), y || (metric ? `metrics.${metric}` : "duration"), third ?? ""];
}

function buildScatter(box) {
  const options = ["created", "duration", "step", ...namesOf("params").map((name) => `params.${name}`), ...namesOf("metrics").map((name) => `metrics.${name}`)];
  const choose = (place) => (event) => {
    const names = scatterNames();
    names[place] = event.target.value;
    set({ scatter: joined(names) });
  };
  const labels = ["Across", "Up", "Colour"];
  const selects = labels.map((label, place) => {
    const choices = [place === 2 && h("option", { value: "" }, "status"), ...options.map((name) => h("option", { value: name }, cut(plain(name.replace(/^(params|metrics)\./, "")), 40)))];
    return h("label", {}, h("span", { class: "faint" }, label), h("select", { change: choose(place) }, choices.filter(Boolean)));
  });
  const note = h("p", { class: "tip", hidden: true });
  const canvas = h("canvas", { role: "img", mousemove: pointAt, mouseleave: () => (note.hidden = true), click: openPoint });
  box.replaceChildren(h("header", {}, h("h2", {}, "Scatter"), h("span", { class: "tools" }, selects)), h("div", { class: "canvas" }, canvas, note));
  new ResizeObserver(drawScatter).observe(box.querySelector(".canvas"));
}

let points = [];
const inset = (share) => 0.03 + 0.94 * share; // leaves room for the points at the edges

function drawScatter() {
  const box = document.querySelector("#scatter .canvas");
  const names = scatterNames();
  document.querySelectorAll("#scatter select").forEach((select, place) => (select.value = names[place]));
  const { context, width, height } = canvasOf(box, 300);
  const [findX, findY] = names.slice(0, 2).map(safeGetter);
  const [across, up] = [axisOf(runs.map(findX)), axisOf(runs.map(findY))];
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  drawAxes(context, inner, across, up, [names[0] === "created", names[1] === "created"]);
  const findColor = names[2] ? safeGetter(names[2]) : null;
  const scale = findColor && axisOf(view.runs.map(findColor));
  points = [];
  for (const run of [...view.runs].reverse()) {
    const [left, top] = [across.place(findX(run)), up.place(findY(run))];
    if (Number.isNaN(left) || Number.isNaN(top)) continue;
    const point = { run, x: MARGIN.left + inset(left) * inner.width, y: MARGIN.top + (1 - inset(top)) * inner.height };
    points.push(point);
    drawPoint(context, point, scale ? pointColor(scale, findColor(run)) : run.status === "stopped" ? color("scale-high") : color(`status-${run.status}`));
  }
  box.querySelector("canvas").setAttribute("aria-label", `${counted(points.length, "run")}: ${plain(names[1])} over ${plain(names[0])}`);
}

function safeGetter(name) {
  try {
    return getter(name);
  } catch {
    return () => undefined;
  }
}

function pointColor(scale, value) {
  if (isMissing(value)) return color("curve-other");
  return scale.names && scale.names.length <= CURVES ? curveColor(scale.names.indexOf(valueText(value))) : shade(scale.place(value));
}

function drawPoint(context, { run, x, y }, fill) {
  const drawnAs = chosen().find((each) => each.run === run);
  context.beginPath();
  context.arc(x, y, drawnAs ? 6 : 4, 0, 2 * Math.PI);
  context.globalAlpha = drawnAs ? 1 : 0.75;
  context.fillStyle = fill;
  context.fill();
  if (drawnAs) {
    context.strokeStyle = color("text");
    context.lineWidth = 1.5;
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawAxes(context, inner, across, up, areTimes) {
  context.strokeStyle = color("grid");
  context.fillStyle = color("faint");
  context.textAlign = "center";
  context.textBaseline = "top";
  let end = -Infinity;
  for (const [place, text] of across.ticks) {
    const x = MARGIN.left + inset(place) * inner.width;
    const shown = areTimes[0] ? when(Number(text)) : text;
    const half = context.measureText(shown).width / 2;
    context.strokeRect(x, MARGIN.top, 0, inner.height);
    if (x - half < end + 8) continue;
    context.fillText(shown, Math.min(x, MARGIN.left + inner.width - half + 14), MARGIN.top + inner.height + 8);
    end = x + half;
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const [place, text] of up.ticks) {
    const y = MARGIN.top + (1 - inset(place)) * inner.height;
    context.strokeRect(MARGIN.left, y, inner.width, 0);
    context.fillText(areTimes[1] ? when(Number(text)) : text, MARGIN.left - 8, y, MARGIN.left - 10);
  }
}

function nearestPoint(event) {
  const far = (point) => (point.x - event.offsetX) ** 2 + (point.y - event.offsetY) ** 2;
  let best = null;
  for (const point of points) if (far(point) < 200 && (best === null || far(point) < far(best))) best = point;
  return best;
}

function pointAt(event) {
  const note = event.target.nextSibling;
  const point = nearestPoint(event);
  note.hidden = !point;
  if (!point) return;
  const names = scatterNames().filter(Boolean);
  const values = names.map((name) => `${plain(name.replace(/^(params|metrics)\./, ""))} ${name === "created" ? when(point.run.created) : valueText(safeGetter(name)(point.run))}`);
  note.textContent = [plain(point.run.short), ...values].join(" · ");
  note.style.left = `${Math.min(point.x + 10, event.target.clientWidth - note.offsetWidth)}px`;
  note.style.top = `${Math.max(0, point.y - 34)}px`;
}

function openPoint(event) {
  const point = nearestPoint(event);
  if (point) set({ open: point.run.id, compare: "" });
}
