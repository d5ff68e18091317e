// The curves of all other runs, in grey and with few points each, and the mean of a group's curves.

const backgrounds = new Map(); // metric → runs' number → [x, y, x, y, …], on the present x axis

/** Return some points of each run's curve. */
function backgroundOf(metric) {
  if (!backgrounds.has(metric)) {
    const most = runs.length > 300 ? 40 : 160;
    const found = new Map();
    for (const run of runs) {
      const curve = curveOf(metric, run);
      if (curve) found.set(run.number, fewPoints(curve, most));
    }
    backgrounds.set(metric, found);
  }
  return backgrounds.get(metric);
}

/** Return the least and the greatest value of each part of a curve, in their order. */
function fewPoints({ xs, ys }, most) {
  const parts = Math.min(most >> 1, ys.length);
  const points = new Float64Array(4 * parts);
  let count = 0;
  for (let part = 0; part < parts; part++) {
    const end = Math.floor(((part + 1) * ys.length) / parts);
    let [least, greatest] = [-1, -1];
    for (let at = Math.floor((part * ys.length) / parts); at < end; at++) {
      if (!Number.isFinite(ys[at])) continue;
      if (least < 0 || ys[at] < ys[least]) least = at;
      if (greatest < 0 || ys[at] > ys[greatest]) greatest = at;
    }
    if (least < 0) continue;
    const [first, last] = least < greatest ? [least, greatest] : [greatest, least];
    for (const at of first === last ? [first] : [first, last]) {
      points[count++] = xs[at];
      points[count++] = ys[at];
    }
  }
  return points.slice(0, count);
}

/** Return the visible runs' points that are in grey. */
function greyPoints(metric) {
  const found = backgroundOf(metric);
  return view.groups ? [] : view.runs.filter((run) => !view.chosen.has(run)).map((run) => found.get(run.number)).filter((points) => points?.length);
}

function drawBackground(plot, metric) {
  const { ctx, bbox } = plot;
  const [toX, toY] = [scaleOf(plot, "x", state.logx), scaleOf(plot, "y", state.logy)];
  const isMany = view.runs.length > 100;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = color("curve-other");
  ctx.globalAlpha = isMany ? 0.35 : 1; // so that it is darker where many are
  ctx.lineWidth = devicePixelRatio;
  for (const points of greyPoints(metric)) {
    ctx.beginPath();
    for (let at = 0; at < points.length; at += 2) ctx.lineTo(toX(points[at]), toY(points[at + 1]));
    ctx.stroke();
  }
  ctx.restore();
}

/** Return a function from a value to its place on the canvas; quicker than uPlot's for hundreds of thousands. */
function scaleOf(plot, axis, isLog) {
  const { left, top, width, height } = plot.bbox;
  const share = shareOf(plot.scales[axis], isLog);
  return axis === "x" ? (value) => left + share(value) * width : (value) => top + (1 - share(value)) * height;
}

/** Return a function from a value to its place on an axis, from 0 to 1. */
function shareOf({ min, max }, isLog) {
  if (!isLog) return (value) => (value - min) / (max - min);
  const [from, to] = [Math.log(min), Math.log(max)];
  return (value) => (Math.log(Math.max(value, 1e-300)) - from) / (to - from);
}

/** Return the range of all visible curves along an axis; that of y without the most extreme values. */
function backgroundRange(metric, which) {
  const found = backgroundOf(metric);
  const curves = view.groups ? [] : view.runs.map((run) => found.get(run.number) ?? []);
  const values = new Float64Array(curves.reduce((sum, points) => sum + points.length / 2, 0));
  let count = 0;
  for (const points of curves) {
    for (let at = which === "x" ? 0 : 1; at < points.length; at += 2) values[count++] = points[at];
  }
  values.sort();
  const isLog = which === "x" ? state.logx : state.logy;
  const first = isLog ? Math.max(0, values.findIndex((value) => value > 0)) : 0;
  const at = (share) => values[first + Math.floor((values.length - 1 - first) * share)];
  if (!values.length || (isLog && !(at(1) > 0))) return [Infinity, -Infinity];
  return which === "x" || values.length < 100 ? [at(0), at(1)] : [at(0.002), at(0.98)];
}

const MEAN_POINTS = 300;

/** Return x values with the mean, the least and the greatest value of some runs; null if there are no curves. */
function meanCurve(metric, some) {
  const isShown = (x, y) => Number.isFinite(y) && (!state.logx || x > 0) && (!state.logy || y > 0);
  const tables = some.map((run) => curveOf(metric, run)).filter(Boolean).map(({ xs, ys }) => {
    const places = Array.from(xs.keys()).filter((at) => isShown(xs[at], ys[at]));
    return places.map((at) => [xs[at], ys[at]]);
  });
  const all = new Set(tables.flatMap((points) => points.map(([x]) => x)));
  if (!all.size) return null;
  const ordered = Float64Array.from(all).sort();
  const [from, size] = [ordered[0], (ordered.at(-1) - ordered[0]) / MEAN_POINTS];
  const middle = (x) => from + (Math.min(MEAN_POINTS - 1, Math.floor((x - from) / size)) + 0.5) * size;
  const binOf = all.size > MEAN_POINTS ? middle : (x) => x; // the x value to which a point counts
  const bins = new Map(); // x value → a mean of each run
  for (const points of tables) {
    for (const [x, own] of Map.groupBy(points, ([x]) => binOf(x))) {
      if (!bins.has(x)) bins.set(x, []);
      bins.get(x).push(mean(own.map(([, y]) => y)));
    }
  }
  const xs = [...bins.keys()].sort((one, other) => one - other);
  const each = (make) => xs.map((x) => make(bins.get(x)));
  return { xs, mean: each(mean), low: each((values) => Math.min(...values)), high: each((values) => Math.max(...values)) };
}
