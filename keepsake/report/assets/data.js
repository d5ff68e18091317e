// The data: runs, names, curves.

let meta, runs, byId, numbers; // `numbers`: all values of all curves
const curves = new Map(); // metric → run's number → {offset, count, steps, times}
const NONFINITE = { "[NaN]": NaN, "[+Infinity]": Infinity, "[-Infinity]": -Infinity };
const SPLIT = /^(train|training|val|valid|validation|test|eval|dev)(?=[_./-])|(?<=[_./-])(train|training|val|valid|validation|test|eval|dev)$/i;

function load(text, bytes) {
  meta = JSON.parse(text);
  runs = meta.runs;
  byId = new Map(runs.map((run) => [run.id, run]));
  for (const [number, run] of runs.entries()) {
    run.number = number;
    for (const of of [run, run.best, run.latest]) {
      for (const kind of ["params", "environment", "metrics"]) if (of?.[kind]) of[kind] = decoded(of[kind]);
    }
    run.last = Object.assign(decoded(run.earlier), run.latest?.metrics);
    run.metrics = Object.assign(decoded({}), run.best?.metrics, run.last, run.best?.metrics); // the best's names first
  }
  numbers = decodeFloats(bytes);
  let offset = 0;
  for (const [name, index] of Object.entries(meta.curves.index)) {
    const found = new Map();
    for (const [number, steps, times] of index) {
      const count = countOf(meta.curves.steps[steps]);
      found.set(number, { offset, count, steps, times });
      offset += count;
    }
    curves.set(name, found);
  }
}

/** Return values by name, whatever the names are. Numbers that JSON lacks are texts in the data. */
function decoded(values) {
  const found = Object.assign(Object.create(null), values);
  for (const name in found) if (found[name] in NONFINITE) found[name] = NONFINITE[found[name]];
  return found;
}

/** Undo encode_floats of payload.py. */
function decodeFloats(bytes) {
  const count = bytes.length / 3;
  const bits = new Uint32Array(count);
  let code = 0;
  for (let i = 0; i < count; i++) {
    const zigzag = bytes[i] | (bytes[count + i] << 8) | (bytes[2 * count + i] << 16);
    code = (code + ((zigzag >>> 1) ^ -(zigzag & 1))) & 0xffffff;
    bits[i] = code & 0x800000 ? (code << 8) ^ 0x80000000 : ~((code << 8) | 0xff);
  }
  return new Float32Array(bits.buffer);
}

const countOf = (encoded) => Math.min(encoded.length, 1) + sum(encoded.filter((_, at) => at && at % 2 === 0));

/** Undo encode_integers of payload.py. */
function decodeIntegers(encoded) {
  const values = new Float64Array(countOf(encoded)); // they may be large
  let at = 0;
  if (values.length) values[0] = encoded[0];
  for (let i = 1; i < encoded.length; i += 2) {
    for (let times = encoded[i + 1]; times > 0; times--) values[at + 1] = values[at++] + encoded[i];
  }
  return values;
}

/** Undo time_knots of payload.py, and add `start`. */
function decodeTimes(knots, count, start) {
  const seconds = new Float64Array(count).fill(start + (knots[1] ?? 0));
  for (let i = 2; i < knots.length; i += 2) {
    const [from, to, first] = [knots[i - 2], knots[i], start + knots[i - 1]];
    const slope = (knots[i + 1] - knots[i - 1]) / (to - from);
    for (let at = from; at <= to; at++) seconds[at] = first + slope * (at - from);
  }
  return seconds;
}

/** Return the steps with a number in the pool. Most runs have the same, so the last ones are kept. */
function stepsOf(number) {
  if (stepsOf.number !== number) [stepsOf.number, stepsOf.steps] = [number, decodeIntegers(meta.curves.steps[number])];
  return stepsOf.steps;
}

/** Return the x values, by the chosen axis, and the y values of a curve; null if the run has none. */
function curveOf(metric, run) {
  const curve = curves.get(metric)?.get(run.number);
  if (!curve) return null;
  const ys = numbers.subarray(curve.offset, curve.offset + curve.count);
  if (state.x === "step") return { xs: stepsOf(curve.steps), ys };
  return { xs: decodeTimes(meta.curves.times[curve.times], curve.count, state.x === "time" ? run.created : 0), ys };
}

/** Return the charts: metrics that belong together, such as train_loss and val_loss, share one. */
function chartGroups() {
  const groups = Map.groupBy(curves.keys(), (metric) => metric.replace(SPLIT, "").replace(/^[_./-]+|[_./-]+$/g, "") || metric);
  const primaryFirst = (one, other) => (other === meta.primary?.name) - (one === meta.primary?.name);
  const found = [...groups].map(([name, metrics]) => ({ name: metrics.length > 1 ? name : metrics[0], metrics: metrics.sort(primaryFirst) }));
  return found.sort((one, other) => primaryFirst(one.metrics[0], other.metrics[0]));
}

const isTrain = (metric) => /(^|[_./-])(train|training)([_./-]|$)/i.test(metric);

function remembered(make) {
  const made = new Map();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key);
  };
}

/** Return the names of params, or of metrics, in order of appearance. `meta.params` says more about params. */
const namesOf = remembered((kind) => [...new Set(runs.flatMap((run) => Object.keys(run[kind])))]);

const differingParams = remembered(() => namesOf("params").filter((name) => meta.params[name].differs));

/** Return the value of the primary metric, as a number that is less the better it is; NaN if there is none. */
function loss(run) {
  const value = meta.primary ? run.metrics[meta.primary.name] : undefined;
  return typeof value === "number" ? value * (meta.primary.goal === "maximize" ? -1 : 1) : NaN;
}

const hasLoss = (run) => !Number.isNaN(loss(run));

function bestOf(some) {
  return some.filter(hasLoss).reduce((best, run) => (best === null || loss(run) < loss(best) ? run : best), null);
}

/** Return a name without what says that it is a param or a metric. */
const bareName = (name) => name.replace(/^(params|metrics)\./, "");

function pairs(params, names) {
  return names.map((name) => `${plain(meta.params[name].short)} ${cut(valueText(params[name]), 24)}`).join(", ");
}

/** Return what tells a run from the others, such as "lr 0.1, optimizer adam". */
function labelOf(run, most) {
  const names = differingParams().filter((name) => name in run.params);
  return pairs(run.params, names.slice(0, most)) + (names.length > most ? " …" : "");
}
