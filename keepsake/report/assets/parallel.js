// Parallel coordinates: an axis for each param that differs, and the primary metric. A brush becomes a filter.

const AXES = 9; // the most that are drawn
const FEW_VALUES = 6; // a param with no more of them is no scale
const SIDE = 70; // pixels beside the first and the last axis
const [TOP, BOTTOM] = [44, 14];
let axes = []; // {name, title, x, axis, find}
const brushed = new Map(); // name → the condition that a brush wrote into the filter

/** Return the names of the axes: the params that matter most, and the primary metric at the end. */
function axisNames() {
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  const differing = namesOf("params").filter((name) => !isConstant(name));
  const rank = new Map(importances(runs).map(([name], place) => [name, place]));
  const kept = differing.sort((one, other) => (rank.get(one) ?? 999) - (rank.get(other) ?? 999)).slice(0, AXES - 1).reverse();
  return [...kept.map((name) => `params.${name}`), ...(metric ? [`metrics.${metric}`] : [])];
}

function buildParallel(box) {
  const canvas = h("canvas", { role: "img", mousedown: beginBrush });
  const help = h("span", { class: "faint" }, "Drag along an axis to filter; click it to show all.");
  box.replaceChildren(h("header", {}, h("h2", {}, "Parallel coordinates"), help), h("div", { class: "canvas" }, canvas));
  new ResizeObserver(drawParallel).observe(box.querySelector(".canvas"));
}

function drawParallel() {
  const box = document.querySelector("#parallel .canvas");
  const { context, width, height } = canvasOf(box, 320);
  const names = axisNames();
  const room = (width - 2 * SIDE) / Math.max(1, names.length - 1);
  axes = names.map((name, place) => {
    const find = safeGetter(name);
    return { name, title: name.startsWith("params.") ? shortName(name.slice(7)) : name.replace(/^metrics\./, ""), find, x: names.length > 1 ? SIDE + place * room : width / 2, axis: axisOf(runs.map(find), name.startsWith("params.") ? FEW_VALUES : 0) };
  });
  const last = axes[axes.length - 1];
  if (!last) return;
  const matching = new Set(view.runs);
  const values = view.runs.map((run) => last.axis.place(last.find(run))).filter((place) => !Number.isNaN(place)).sort((one, other) => one - other);
  const order = new Map(values.map((place, at) => [place, at / Math.max(1, values.length - 1)]));
  const goal = meta.primary?.goal === "maximize" ? (share) => share : (share) => 1 - share;
  const coloured = chosen();
  for (const run of runs) if (!matching.has(run)) drawPath(context, height, run, color("curve-many"), 0.35, 1);
  for (const run of [...view.runs].reverse()) {
    drawPath(context, height, run, shade(goal(order.get(last.axis.place(last.find(run))) ?? 1)), view.runs.length > 150 ? 0.35 : 0.6, 1);
  }
  for (const { run, color: stroke } of [...coloured].reverse()) drawPath(context, height, run, stroke, 1, 2.5);
  for (const each of axes) drawAxis(context, height, each, room);
  box.querySelector("canvas").setAttribute("aria-label", `Params and ${plain(last.title)} of ${counted(view.runs.length, "run")}`);
}

function drawPath(context, height, run, stroke, alpha, thickness) {
  context.beginPath();
  let isDown = false;
  for (const { x, axis, find } of axes) {
    const place = axis.place(find(run));
    if (Number.isNaN(place)) {
      isDown = false;
      continue;
    }
    const y = TOP + (1 - place) * (height - TOP - BOTTOM);
    if (isDown) context.lineTo(x, y);
    else context.moveTo(x, y);
    isDown = true;
  }
  context.strokeStyle = stroke;
  context.globalAlpha = alpha;
  context.lineWidth = thickness;
  context.stroke();
  context.globalAlpha = 1;
}

function drawAxis(context, height, { name, title, x, axis }, room) {
  const [top, bottom] = [TOP, height - BOTTOM];
  context.strokeStyle = color(brushed.has(name) ? "accent" : "axis");
  context.lineWidth = brushed.has(name) ? 3 : 1;
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = "600 12px system-ui, sans-serif";
  context.fillStyle = color("text");
  context.fillText(cut(plain(title), Math.max(6, Math.floor(room / 7))), x, 16, Math.max(40, room - 8));
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "left";
  for (const [place, text] of axis.ticks) {
    const y = bottom - place * (bottom - top);
    context.lineWidth = 4;
    context.strokeStyle = color("card");
    context.strokeText(text, x + 6, y);
    context.fillStyle = color("faint");
    context.fillText(text, x + 6, y);
    context.fillStyle = color("axis");
    context.fillRect(x - 3, y - 0.5, 6, 1);
  }
}

function beginBrush(event) {
  const canvas = event.target;
  const height = canvas.clientHeight;
  const near = axes.reduce((best, axis) => (Math.abs(axis.x - event.offsetX) < Math.abs(best.x - event.offsetX) ? axis : best), axes[0]);
  if (!near || Math.abs(near.x - event.offsetX) > 30) return;
  event.preventDefault();
  const shareAt = (y) => Math.max(0, Math.min(1, 1 - (y - TOP) / (height - TOP - BOTTOM)));
  const start = event.offsetY;
  const left = canvas.getBoundingClientRect();
  const move = (moved) => {
    drawParallel();
    const context = canvas.getContext("2d");
    context.fillStyle = color("accent");
    context.globalAlpha = 0.25;
    context.fillRect(near.x - 9, Math.min(start, moved.clientY - left.top), 18, Math.abs(moved.clientY - left.top - start));
    context.globalAlpha = 1;
  };
  const end = (moved) => {
    document.removeEventListener("mousemove", move);
    const stop = moved.clientY - left.top;
    brush(near, Math.abs(stop - start) < 4 ? null : [shareAt(start), shareAt(stop)].sort((one, other) => one - other));
  };
  document.addEventListener("mousemove", move);
  document.addEventListener("mouseup", end, { once: true });
}

/** Replace what an earlier brush of this axis wrote into the filter. */
function brush(axis, shares) {
  const before = brushed.get(axis.name);
  const others = before ? state.filter.replace(before, "").replace(/^\s*and\s+|\s+and\s*$/g, "").replace(/ and\s+and /g, " and ") : state.filter;
  const text = shares ? rangeText(axis, shares) : "";
  if (text) brushed.set(axis.name, text);
  else brushed.delete(axis.name);
  const rest = / or /i.test(others) && text ? `(${others})` : others;
  set({ filter: [rest, text].filter(Boolean).join(" and ") });
  drawParallel();
}

function rangeText({ name, axis }, [low, high]) {
  if (!axis.names) {
    const [from, to] = [low, high].map((share) => Number(axis.value(share).toPrecision(4)));
    return `${conditionText(name, ">=", from)} and ${conditionText(name, "<=", to)}`;
  }
  const names = axis.names.filter((_, at) => (at + 0.5) / axis.names.length >= low && (at + 0.5) / axis.names.length <= high);
  const values = new Map(runs.map((run) => safeGetter(name)(run)).map((value) => [valueText(value), value]));
  const literals = names.map((each) => valueLiteral(values.get(each)));
  return literals.length ? conditionText(name, "in", "").replace(/"?"?$/, `(${literals.join(", ")})`) : "";
}
