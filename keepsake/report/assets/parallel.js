// Parallel coordinates: an axis for each param that differs, and the primary metric. A brush becomes a filter.

const AXES = 9; // the most that are drawn
const FEW_VALUES = 6; // a param with no more of them is no scale
const [SIDE, TOP, BOTTOM] = [64, 52, 12]; // pixels around the axes
let axes = []; // {name, title, x, axis, find}
const brushed = new Map(); // name → the condition that a brush wrote into the filter
let drawParallel;

/** Return the names of the axes: the params that matter most, and the primary metric at the end. */
function axisNames() {
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  const rank = new Map(allImportances().map(([name], place) => [name, place]));
  const kept = differingParams().toSorted((one, other) => (rank.get(one) ?? 999) - (rank.get(other) ?? 999)).slice(0, AXES - 1).reverse();
  return [...kept.map((name) => `params.${name}`), ...(metric ? [`metrics.${metric}`] : [])];
}

function buildParallel(box) {
  const canvas = h("canvas", { role: "img", pointerdown: beginBrush });
  const help = h("span", { class: "faint small" }, "Drag along an axis to filter; click it to show all.");
  box.replaceChildren(h("header", {}, h("h2", {}, "Parallel coordinates"), help), h("div", { class: "canvas" }, canvas));
  drawParallel = whenSeen(canvas.parentElement, parallel);
}

function parallel() {
  const box = document.querySelector("#parallel .canvas");
  const { context, width, height } = canvasOf(box, 320);
  const names = axisNames();
  const room = (width - 2 * SIDE) / Math.max(1, names.length - 1);
  axes = names.map((name, place) => {
    const find = safeGetter(name);
    const axis = axisOf(runs.map(find), name.startsWith("params.") ? FEW_VALUES : 0);
    return { name, title: bareName(name), find, x: names.length > 1 ? SIDE + place * room : width / 2, axis };
  });
  const last = axes[axes.length - 1];
  if (!last) return;
  const draw = pathDrawer(context, height);
  const matching = new Set(view.runs);
  for (const run of runs) if (!matching.has(run)) draw(run, color("curve-many"), 0.35, 1);
  const ranked = view.runs.toSorted((one, other) => loss(other) - loss(one)); // the best ones last
  for (const [place, run] of ranked.entries()) {
    draw(run, shade(hasLoss(run) ? place / Math.max(1, ranked.length - 1) : 0), ranked.length > 150 ? 0.35 : 0.6, 1);
  }
  if (!view.groups) for (const [run, place] of [...view.chosen].reverse()) draw(run, curveColor(place), 1, 2.5);
  for (const each of axes) drawAxis(context, height, each, room);
  box.querySelector("canvas").setAttribute("aria-label", `Params and ${plain(last.title)} of ${counted(view.runs.length, "run")}`);
}

/** Return a function that draws the path of a run, with a gap where it has no value. */
function pathDrawer(context, height) {
  return (run, stroke, alpha, thickness) => {
    context.beginPath();
    let isDown = false;
    for (const { x, axis, find } of axes) {
      const place = axis.place(find(run));
      const y = TOP + (1 - place) * (height - TOP - BOTTOM);
      if (isDown) context.lineTo(x, y);
      else if (y === y) context.moveTo(x, y);
      isDown = y === y;
    }
    [context.strokeStyle, context.globalAlpha, context.lineWidth] = [stroke, alpha, thickness];
    context.stroke();
    context.globalAlpha = 1;
  };
}

function drawAxis(context, height, { name, title, x, axis }, room) {
  const [top, bottom] = [TOP, height - BOTTOM];
  context.fillStyle = color(brushed.has(name) ? "accent" : "axis");
  context.fillRect(x - (brushed.has(name) ? 1.5 : 0.5), top, brushed.has(name) ? 3 : 1, bottom - top);
  context.textAlign = "center";
  context.textBaseline = "middle";
  const dot = title.lastIndexOf(".") + 1; // of a param in a dict
  const letters = Math.max(6, Math.floor(room / 6.5));
  context.font = "10.5px system-ui, sans-serif";
  context.fillStyle = color("faint");
  context.fillText(cut(plain(title.slice(0, dot)), letters), x, 12, room - 6);
  context.font = "600 12px system-ui, sans-serif";
  context.fillStyle = color("text");
  context.fillText(cut(plain(title.slice(dot)), letters), x, 28, Math.max(40, room - 6));
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "left";
  context.lineWidth = 4;
  context.strokeStyle = color("card");
  context.lineJoin = "round";
  for (const [place, text] of axis.ticks) {
    const y = bottom - place * (bottom - top);
    const shown = cut(text, Math.max(5, Math.floor((room - 12) / 6)));
    context.strokeText(shown, x + 6, y);
    context.fillStyle = color("faint");
    context.fillText(shown, x + 6, y);
    context.fillStyle = color("axis");
    context.fillRect(x - 3, y - 0.5, 6, 1);
  }
}

function beginBrush(event) {
  const canvas = event.target;
  const height = canvas.clientHeight;
  const start = event.offsetY;
  const near = axes.toSorted((one, other) => Math.abs(one.x - event.offsetX) - Math.abs(other.x - event.offsetX))[0];
  if (!near || Math.abs(near.x - event.offsetX) > 30) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = (moved) => {
    parallel();
    const context = canvas.getContext("2d");
    context.fillStyle = color("accent");
    context.globalAlpha = 0.25;
    context.fillRect(near.x - 9, Math.min(start, moved.offsetY), 18, Math.abs(moved.offsetY - start));
    context.globalAlpha = 1;
  };
  canvas.onpointerup = ({ offsetY: stop }) => {
    canvas.onpointermove = canvas.onpointerup = null;
    const shares = [start, stop].map((y) => Math.max(0, Math.min(1, 1 - (y - TOP) / (height - TOP - BOTTOM))));
    brush(near, Math.abs(stop - start) < 4 ? null : shares.sort((one, other) => one - other));
  };
}

/** Replace what an earlier brush of this axis wrote into the filter. */
function brush({ name, axis }, shares) {
  const before = brushed.get(name);
  const others = before ? state.filter.replace(before, "").replace(/^\s*and\s+|\s+and\s*$/g, "").replace(/ and\s+and /g, " and ") : state.filter;
  const text = shares ? rangeText(name, axis, shares) : "";
  if (text) brushed.set(name, text);
  else brushed.delete(name);
  const rest = / or /i.test(others) && text ? `(${others})` : others;
  set({ filter: [rest, text].filter(Boolean).join(" and ") });
  drawParallel();
}

/** Return the condition for the part of an axis between two places. */
function rangeText(name, axis, [low, high]) {
  if (!axis.names) {
    const [from, to] = [low, high].map((share) => Number(axis.value(share).toPrecision(4)));
    return `${conditionText(name, ">=", from)} and ${conditionText(name, "<=", to)}`;
  }
  const find = safeGetter(name);
  const values = new Map(runs.map(find).filter((value) => axis.place(value) >= low && axis.place(value) <= high).map((value) => [valueText(value), value]));
  return values.size ? `${nameText(name)} in (${[...values.values()].map(literal).join(", ")})` : "";
}
