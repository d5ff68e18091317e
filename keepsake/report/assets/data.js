// The data: runs, names, curves.

let meta, runs, byId, numbers; // `numbers`: all values of all curves
const curves = new Map(); // metric → run's number → {offset, count, steps, times}
const NONFINITE = { "[NaN]": NaN, "[+Infinity]": Infinity, "[-Infinity]": -Infinity };
const SPLIT = /^(train|training|val|valid|validation|test|eval|dev)(?=[_./-])|(?<=[_./-])(train|training|val|valid|validation|test|eval|dev)$/i;

async function load() {
  meta = JSON.parse(new TextDecoder().decode(await unpack("meta")));
  runs = meta.runs;
  byId = new Map(runs.map((run) => [run.id, run]));
  runs.forEach((run, number) => {
    run.number = number;
    for (const part of [run.params, run.environment, run.best?.metrics, run.latest?.metrics]) decode(part ?? {});
    run.checkpoint = run.best ?? run.latest;
    run.metrics = run.checkpoint?.metrics ?? {};
  });
  decodeCurves(await unpack("curves"));
}

/** Numbers that JSON lacks are texts in the data. */
function decode(values) {
  for (const name in values) if (values[name] in NONFINITE) values[name] = NONFINITE[values[name]];
}

function decodeCurves(bytes) {
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

/** Undo encode_floats of payload.py. */
function decodeFloats(bytes) {
  const count = bytes.length / 3;
  const floats = new Float32Array(count);
  const bits = new Uint32Array(floats.buffer);
  let code = 0;
  for (let i = 0; i < count; i++) {
    const zigzag = bytes[i] | (bytes[count + i] << 8) | (bytes[2 * count + i] << 16);
    code = (code + ((zigzag >>> 1) ^ -(zigzag & 1))) & 0xffffff;
    bits[i] = code & 0x800000 ? (code << 8) ^ 0x80000000 : ~((code << 8) | 0xff);
  }
  return floats;
}

function countOf(encoded) {
  let count = encoded.length ? 1 : 0;
  for (let i = 2; i < encoded.length; i += 2) count += encoded[i];
  return count;
}

/** Undo encode_integers of payload.py. */
function decodeIntegers(encoded) {
  const values = encoded.length ? [encoded[0]] : [];
  for (let i = 1; i < encoded.length; i += 2) {
    for (let times = encoded[i + 1]; times > 0; times--) values.push(values[values.length - 1] + encoded[i]);
  }
  return values;
}

const stepsOf = remembered((number) => decodeIntegers(meta.curves.steps[number]));
const secondsOf = remembered((key) => {
  const [number, count] = key.split(" ").map(Number);
  const knots = meta.curves.times[number];
  const seconds = new Array(count).fill(knots[1] ?? 0);
  for (let i = 2; i < knots.length; i += 2) {
    const [from, start, to, end] = knots.slice(i - 2, i + 2);
    for (let at = from; at <= to; at++) seconds[at] = start + ((end - start) * (at - from)) / (to - from);
  }
  return seconds;
});

function remembered(make) {
  const made = new Map();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key);
  };
}

/** Return the x values, by the chosen axis, and the y values of a curve; null if the run has none. */
function curveOf(metric, run) {
  const curve = curves.get(metric)?.get(run.number);
  if (!curve) return null;
  const values = numbers.subarray(curve.offset, curve.offset + curve.count);
  if (state.x === "step") return { xs: stepsOf(curve.steps), ys: values };
  const seconds = secondsOf(`${curve.times} ${curve.count}`);
  return { xs: state.x === "time" ? seconds.map((second) => run.created + second) : seconds, ys: values };
}

/** Return the charts: metrics that belong together, such as train_loss and val_loss, share one. */
function chartGroups() {
  const groups = new Map();
  for (const metric of curves.keys()) {
    const name = metric.replace(SPLIT, "").replace(/^[_./-]+|[_./-]+$/g, "") || metric;
    groups.set(name, [...(groups.get(name) ?? []), metric]);
  }
  const primary = meta.primary?.name;
  const found = [...groups].map(([name, metrics]) => ({ name, metrics: metrics.sort((one) => (one === primary ? -1 : 0)) }));
  return found.sort((one, other) => other.metrics.includes(primary) - one.metrics.includes(primary));
}

const isTrain = (metric) => /(^|[_./-])(train|training)([_./-]|$)/i.test(metric);

/** Return the names of params, or of metrics, in order of appearance. */
function namesOf(kind) {
  return [...allNames(kind)];
}

const allNames = remembered((kind) => {
  const names = new Set();
  for (const run of runs) for (const name in run[kind]) names.add(name);
  return names;
});

/** Return whether a param has the same value in all runs. */
const isConstant = remembered((name) => {
  const first = JSON.stringify(valueText(runs[0]?.params[name]));
  return runs.every((run) => name in run.params && JSON.stringify(valueText(run.params[name])) === first);
});

/** Return the value of the primary metric, as a number that is less the better it is; NaN if there is none. */
function loss(run) {
  const value = meta.primary ? run.metrics[meta.primary.name] : undefined;
  return typeof value === "number" ? value * (meta.primary.goal === "maximize" ? -1 : 1) : NaN;
}

function bestOf(some) {
  let best = null;
  for (const run of some) if (loss(run) === loss(run) && (best === null || loss(run) < loss(best))) best = run;
  return best;
}

/** Return a param's name without the dicts that it is in, if that is enough to know it. */
const shortName = remembered((name) => {
  const last = name.slice(name.lastIndexOf(".") + 1);
  const isVague = ["name", "type", "class", "value", "id", ""].includes(last);
  return !isVague && namesOf("params").filter((other) => other.slice(other.lastIndexOf(".") + 1) === last).length === 1 ? last : name;
});

function pairs(params, names) {
  return names.map((name) => `${plain(shortName(name))} ${cut(valueText(params[name]), 24)}`).join(", ");
}

/** Return what tells a run from the others, such as "lr 0.1, optimizer adam". */
function labelOf(run, most = 3) {
  const names = Object.keys(run.params).filter((name) => !isConstant(name));
  return pairs(run.params, names.slice(0, most)) + (names.length > most ? " …" : "");
}
