// The curves of all other runs, in grey and with few points each, and the mean of a group's curves.

const backgrounds = new Map(); // metric and axis → runs' number → [x, y, x, y, …]

/** Return some points of each run's curve: the least and the greatest value of each part. */
function backgroundOf(metric) {
  const key = `${state.x} ${metric}`;
  if (!backgrounds.has(key)) {
    const most = runs.length > 300 ? 40 : 160;
    const found = new Map();
    for (const run of runs) {
      const curve = curveOf(metric, run);
      if (curve) found.set(run.number, fewPoints(curve, most));
    }
    backgrounds.set(key, found);
  }
  return backgrounds.get(key);
}

function fewPoints({ xs, ys }, most) {
  const parts = Math.min(Math.max(1, most >> 1), ys.length);
  const points = [];
  for (let part = 0; part < parts; part++) {
    const end = Math.floor(((part + 1) * ys.length) / parts);
    let [least, greatest] = [-1, -1];
    for (let at = Math.floor((part * ys.length) / parts); at < end; at++) {
      if (!Number.isFinite(ys[at])) continue;
      if (least < 0 || ys[at] < ys[least]) least = at;
      if (greatest < 0 || ys[at] > ys[greatest]) greatest = at;
    }
    if (least < 0) continue;
    points.push(xs[Math.min(least, greatest)], ys[Math.min(least, greatest)]);
    if (least !== greatest) points.push(xs[Math.max(least, greatest)], ys[Math.max(least, greatest)]);
  }
  return points;
}

function drawBackground(plot, metric) {
  if (view.groups) return;
  const { ctx, bbox } = plot;
  const found = backgroundOf(metric);
  const coloured = new Set(chosen().map(({ run }) => run.number));
  const toX = scaleOf(plot, "x", state.logx);
  const toY = scaleOf(plot, "y", state.logy);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = color(view.runs.length > 100 ? "curve-many" : "curve-other");
  ctx.lineWidth = devicePixelRatio * (view.runs.length > 100 ? 0.8 : 1);
  for (const run of view.runs) {
    const points = coloured.has(run.number) ? undefined : found.get(run.number);
    if (!points) continue;
    ctx.beginPath();
    for (let at = 0; at < points.length; at += 2) ctx.lineTo(toX(points[at]), toY(points[at + 1]));
    ctx.stroke();
  }
  ctx.restore();
}

/** Return a function from a value to its place on the canvas; quicker than uPlot's for hundreds of thousands. */
function scaleOf(plot, axis, isLog) {
  const { min, max } = plot.scales[axis];
  const { left, top, width, height } = plot.bbox;
  const [from, to] = isLog ? [Math.log(min), Math.log(max)] : [min, max];
  const share = isLog ? (value) => (Math.log(Math.max(value, 1e-300)) - from) / (to - from) : (value) => (value - from) / (to - from);
  return axis === "x" ? (value) => left + share(value) * width : (value) => top + (1 - share(value)) * height;
}

/** Return the range of the background along an axis, without the most extreme values. */
function backgroundRange(metric, which) {
  if (view.groups) return [Infinity, -Infinity];
  const found = backgroundOf(metric);
  let values = [];
  for (const run of view.runs) {
    const points = found.get(run.number);
    if (!points?.length) continue;
    if (which === "x") values.push(points[0], points[points.length - 2]);
    else for (let at = 1; at < points.length; at += 2) values.push(points[at]);
  }
  if (which === "x" ? state.logx : state.logy) values = values.filter((value) => value > 0);
  if (!values.length) return [Infinity, -Infinity];
  values.sort((one, other) => one - other);
  if (which === "x" || values.length < 100) return [values[0], values[values.length - 1]];
  return [values[Math.floor(values.length * 0.002)], values[Math.floor((values.length - 1) * 0.98)]];
}

const MEAN_POINTS = 300;

/** Return x values with the mean, the least and the greatest value of some runs; null if there are no curves. */
function meanCurve(metric, some) {
  const tables = some.map((run) => curveOf(metric, run)).filter(Boolean).map(drawable).filter(([xs]) => xs.length);
  if (!tables.length) return null;
  const all = [...new Set(tables.flatMap(([xs]) => xs))].sort((one, other) => one - other);
  const [from, to] = [all[0], all[all.length - 1]];
  const isExact = all.length <= MEAN_POINTS;
  const places = new Map(all.map((x, place) => [x, place]));
  const size = isExact ? all.length : MEAN_POINTS;
  const placeOf = (x) => (isExact ? places.get(x) : Math.min(size - 1, Math.floor(((x - from) / (to - from)) * size)));
  const columns = tables.map(([xs, ys]) => {
    const [sums, counts] = [new Float64Array(size), new Float64Array(size)];
    xs.forEach((x, at) => {
      if (isMissing(ys[at])) return;
      sums[placeOf(x)] += ys[at];
      counts[placeOf(x)] += 1;
    });
    return Array.from(sums, (sum, place) => (counts[place] ? sum / counts[place] : null));
  });
  const rows = Array.from({ length: size }, (_, place) => columns.map((column) => column[place]).filter((value) => value !== null));
  const kept = [...rows.keys()].filter((place) => rows[place].length);
  return [
    kept.map((place) => (isExact ? all[place] : from + ((place + 0.5) / size) * (to - from))),
    kept.map((place) => rows[place].reduce((sum, value) => sum + value, 0) / rows[place].length),
    kept.map((place) => Math.min(...rows[place])),
    kept.map((place) => Math.max(...rows[place])),
  ];
}
