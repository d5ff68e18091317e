// The curves of all other runs, in grey and with few points each, and the mean of a group's curves.

const backgrounds = new Map(); // metric → runs' number → {x, y}: a few points, on the present x axis

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
  const places = [];
  for (let part = 0, at = 0; part < parts; part++) {
    const end = Math.floor(((part + 1) * ys.length) / parts);
    let [least, greatest] = [-1, -1];
    for (; at < end; at++) {
      if (!Number.isFinite(ys[at])) continue;
      if (least < 0 || ys[at] < ys[least]) least = at;
      if (greatest < 0 || ys[at] > ys[greatest]) greatest = at;
    }
    const [first, last] = least < greatest ? [least, greatest] : [greatest, least];
    if (first >= 0) places.push(first);
    if (last > first) places.push(last);
  }
  return { x: Float64Array.from(places, (place) => xs[place]), y: Float32Array.from(places, (place) => ys[place]) };
}

/** Return the visible runs' points that are in grey. */
function greyPoints(metric) {
  const found = backgroundOf(metric);
  return view.groups ? [] : view.runs.filter((run) => !view.chosen.has(run)).map((run) => found.get(run.number)).filter(Boolean);
}

function drawBackground(plot, metric) {
  const { ctx, bbox } = plot;
  const isMany = view.runs.length > 100;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = color("curve-other");
  ctx.globalAlpha = isMany ? 0.35 : 1; // so that it is darker where many are
  ctx.lineWidth = devicePixelRatio;
  for (const { x, y } of greyPoints(metric)) {
    ctx.beginPath();
    for (let at = 0; at < x.length; at++) ctx.lineTo(plot.valToPos(x[at], "x", true), plot.valToPos(y[at], "y", true));
    ctx.stroke();
  }
  ctx.restore();
}

/** Return the range of all visible curves along an axis; that of y without the most extreme values. */
function backgroundRange(metric, which) {
  const found = backgroundOf(metric);
  const isLog = which === "x" ? state.logx : state.logy;
  const parts = (view.groups ? [] : view.runs).map((run) => found.get(run.number)?.[which] ?? []);
  const all = new Float64Array(sum(parts.map((part) => part.length)));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  all.sort();
  const values = isLog ? all.subarray(all.findLastIndex((value) => value <= 0) + 1) : all;
  const at = (share) => values[Math.floor((values.length - 1) * share)];
  if (!values.length) return [Infinity, -Infinity];
  return which === "x" || values.length < 100 ? [at(0), at(1)] : [at(0.002), at(0.98)];
}

const MEAN_POINTS = 300;

/** Return x values with the mean, the least and the greatest value of some runs; null if there are no curves. */
function meanCurve(metric, some) {
  const tables = some.map((run) => curveOf(metric, run)).filter(Boolean).map(drawable);
  const all = Float64Array.from(new Set(tables.flatMap(({ xs }) => [...xs]))).sort();
  const size = (all.at(-1) - all[0]) / MEAN_POINTS;
  const middle = (x) => all[0] + (Math.min(MEAN_POINTS - 1, Math.floor((x - all[0]) / size)) + 0.5) * size;
  const binOf = all.length > MEAN_POINTS ? middle : (x) => x; // the x value to which a point counts
  const bins = new Map(); // x value → a mean of each run
  for (const { xs, ys } of tables) {
    const places = [...xs.keys()].filter((place) => ys[place] !== null);
    for (const [x, own] of Map.groupBy(places, (place) => binOf(xs[place]))) {
      bins.set(x, [...(bins.get(x) ?? []), mean(own.map((place) => ys[place]))]);
    }
  }
  const points = [...bins].sort(([one], [other]) => one - other);
  if (!points.length) return null;
  const each = (make) => points.map(([, values]) => make(values));
  return { xs: points.map(([x]) => x), mean: each(mean), low: each((values) => Math.min(...values)), high: each((values) => Math.max(...values)) };
}
