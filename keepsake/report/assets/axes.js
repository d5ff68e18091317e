// What the scatter and the parallel coordinates share: drawings, axes for any values, and colours between two ends.

const HEIGHT = 320; // of a drawing, in pixels

/** Put an empty drawing into a box, as wide as the box is, and return it with its width. Paper may scale it. */
function emptyDrawing(box, label) {
  const width = box.clientWidth;
  const svg = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  box.querySelector("svg")?.remove();
  box.prepend(svg);
  return [svg, width];
}

/** Return an axis for values: {place: value → 0 to 1, ticks: [[place, text]], names}. A few values stand evenly apart. */
function axisOf(values, few = 0) {
  const distinct = [...new Set(values.filter((value) => !isMissing(value)))];
  const areNumbers = distinct.every((value) => typeof value === "number");
  if (areNumbers && distinct.length > few) return numericAxis(distinct.filter(Number.isFinite));
  const names = areNumbers ? distinct.sort((one, other) => one - other).map(valueText) : [...new Set(distinct.map(valueText))].sort();
  const shares = new Map(names.map((name, at) => [name, (at + 0.5) / names.length]));
  const stride = Math.ceil(names.length / 12);
  const ticks = names.filter((_, at) => at % stride === 0).map((name) => [shares.get(name), cut(name, 24)]);
  return { place: (value) => (isMissing(value) ? NaN : shares.get(valueText(value))), ticks, names };
}

/** Return a function from a value to its place on an axis, from 0 to 1. */
function shareOf({ min, max }, isLog) {
  if (!isLog) return (value) => (value - min) / (max - min);
  const [from, to] = [Math.log(min), Math.log(max)];
  return (value) => (Math.log(Math.max(value, 1e-300)) - from) / (to - from);
}

function numericAxis(numbers) {
  let [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
  const isLog = low > 0 && high / low >= 50;
  const half = low === high ? Math.abs(low || 1) * 0.1 : 0;
  [low, high] = [low - half, high + half];
  const share = shareOf({ min: low, max: high }, isLog);
  const value = isLog ? (at) => low * (high / low) ** at : (at) => low + (high - low) * at;
  const place = (number) => (Number.isFinite(number) ? share(number) : NaN);
  const ticks = (isLog ? logTicks(low, high) : evenTicks(low, high)).map((tick) => [share(tick), short(tick, 4)]);
  return { place, value, ticks };
}

function evenTicks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-12) && ticks.length < 20; at++) ticks.push(Number((at * step).toPrecision(12)));
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

/** Return the lines and texts of ticks, [place in pixels, text], across and up. A text that would touch the one before is left out. */
function gridOf({ left, top, right, bottom }, across, up, stroke) {
  const line = (d) => s("path", { d, stroke });
  let end = -Infinity;
  const texts = across.map(([x, text]) => {
    const half = 3.4 * text.length;
    if (x - half <= end) return null;
    end = x + half + 10;
    return s("text", { x: Math.min(x, right + 12 - half), y: bottom + 20, "text-anchor": "middle" }, text);
  });
  const rows = up.map(([y, text]) => [line(`M${left} ${y}H${right}`), s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, cut(text, 8))]);
  return s("g", {}, across.map(([x]) => line(`M${x} ${top}V${bottom}`)), texts, rows);
}

/** Return a colour between the two ends of the scale, for 0 to 1. */
const shade = (share) => `color-mix(in srgb, var(--scale-high) ${Math.round((share || 0) * 100)}%, var(--scale-low))`;

/** Return the path through points. It has a gap where y is null or NaN, and goes on where y is undefined. */
function pathOf(points) {
  let [path, isDown] = ["", false];
  for (const [x, y] of points) {
    if (y === undefined) continue;
    const isPoint = Number.isFinite(y);
    if (isPoint) path += `${isDown ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDown = isPoint;
  }
  return path;
}
