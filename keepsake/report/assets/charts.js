// Curves: a large chart for the primary metric, and a small one for each other, with uPlot.

const MOST = 10; // runs in colour
const FEW_RUNS = 6; // so few are all in colour, if none is chosen
const GROUPS = 5; // groups in colour
const DASHES = [[], [6, 3], [2, 3]]; // the next one each time the colours start again
const STEPS = [...Array(16).keys()].flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
const charts = [];
let zoom = null; // the part of the x axis that is shown: [from, to]

/** Return what is in colour, and the number of its colour: the best run and the ticked ones, or groups. */
function chosen() {
  let some = tickedRuns();
  if (!some.length && view.runs.length <= FEW_RUNS) some = view.runs;
  if (view.best) some = [view.best, ...some];
  if (!some.length) some = view.runs.slice(0, 1);
  const found = view.groups ? view.groups.slice(0, GROUPS) : [...new Set(some)].slice(0, MOST);
  return new Map(found.map((each, place) => [each, place]));
}

const tickedRuns = () => list("ticked").map((id) => byId.get(id)).filter(Boolean);

/** Return values smoothed by an exponential moving average; the first ones count less. */
function smoothed(values, weight) {
  let [average, total] = [0, 0];
  const found = [];
  for (const value of values) {
    if (value !== null) {
      average = average * weight + value * (1 - weight);
      total = total * weight + (1 - weight);
    }
    found.push(value === null ? null : average / total);
  }
  return found;
}

/** Return {xs, ys, raw} of a curve: sorted, as uPlot draws it, with null for what has no place on the axis. */
function drawable({ xs, ys: raw }) {
  let isRising = true;
  for (let at = 1; at < xs.length; at++) if (xs[at] < xs[at - 1]) isRising = false;
  if (!isRising || (state.logx && xs[0] <= 0)) {
    const places = [...xs.keys()].filter((at) => !state.logx || xs[at] > 0).sort((one, other) => xs[one] - xs[other]);
    [xs, raw] = [xs, raw].map((values) => places.map((at) => values[at]));
  }
  const ys = []; // loops, because callbacks for a hundred thousand numbers leave much garbage
  for (let at = 0; at < raw.length; at++) ys.push(Number.isFinite(raw[at]) && (!state.logy || raw[at] > 0) ? raw[at] : null);
  return { xs, ys, raw };
}

class Chart {
  constructor(group, isLarge) {
    this.group = group;
    this.isLarge = isLarge;
    this.metric = group.metrics.find((name) => !isTrain(name)) ?? group.metrics[0]; // of the background
    this.box = h("div", { class: "plot", tabindex: 0, role: "img", keydown: (event) => this.key(event) });
    this.legend = h("ul", { class: "legend" });
    this.at = h("span", { class: "at faint" });
    const exports = ["png", "svg"].map((kind) => h("button", { class: "quiet", click: () => exportChart(this, kind) }, kind.toUpperCase()));
    const dashed = group.metrics.length > 1 ? group.metrics.filter(isTrain) : [];
    this.dashed = faint(dashed.length > 0 && `${dashed.map(plain).join(", ")} dashed`);
    const title = h(isLarge ? "h2" : "h3", {}, plain(group.name), this.dashed);
    this.card = h("section", { class: `card chart ${isLarge ? "large" : ""}` }, h("header", {}, title, this.at, h("span", { class: "tools" }, exports)), this.box, this.legend);
    this.refresh = whenSeen(this.box, () => this.draw());
  }

  draw() {
    this.lines = view.groups ? this.groupLines() : this.runLines();
    this.ranges = { x: backgroundRange(this.metric, "x"), y: backgroundRange(this.metric, "y") };
    const data = this.lines.length ? uPlot.join(this.lines.map((line) => [line.xs, ...line.columns])) : [[], []];
    const shown = zoom;
    if (this.plot) this.plot.ctx.canvas.width = 0; // gives its memory back at once
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), data, this.box);
    if (shown) this.plot.setScale("x", { min: shown[0], max: shown[1] });
    this.dashed.hidden = Boolean(view.groups); // groups show one metric
    this.drawLegend();
    this.box.setAttribute("aria-label", this.sentence());
  }

  /** Return a line for each run in colour and metric: {of, metric, color, xs, raw, columns, styles}. */
  runLines() {
    const weight = Number(state.smooth);
    const lines = [];
    for (const [run, place] of view.chosen) {
      for (const metric of this.group.metrics) {
        const curve = curveOf(metric, run);
        if (!curve) continue;
        const { xs, ys, raw } = drawable(curve);
        const dash = isTrain(metric) && this.group.metrics.length > 1 ? [4, 4] : DASHES[Math.floor(place / CURVES)];
        const style = { stroke: curveColor(place), dash, width: 1.75 };
        const columns = weight ? [ys, smoothed(ys, weight)] : [ys];
        const styles = weight ? [{ ...style, alpha: 0.3, width: 1 }, style] : [style];
        lines.push({ of: run, place, metric, xs, raw, columns, styles });
        if (run === view.best && run.best && metric === meta.primary.name) markBest(lines.at(-1));
      }
    }
    return lines;
  }

  groupLines() {
    const lines = [];
    for (const [group, place] of view.chosen) {
      const found = meanCurve(this.metric, group.runs);
      if (!found) continue;
      const columns = [found.high, found.low, found.mean].map((values) => smoothed(values, Number(state.smooth)));
      const edge = { stroke: "transparent", width: 0 };
      const styles = [edge, edge, { stroke: curveColor(place), width: 2 }];
      lines.push({ of: group, place, metric: this.metric, xs: found.xs, raw: found.mean, columns, styles });
    }
    return lines;
  }

  options() {
    const [series, bands] = [[{}], []];
    for (const { columns, styles, xs, place } of this.lines) {
      if (view.groups) bands.push({ series: [series.length, series.length + 1], fill: curveColor(place).replace(")", ", 0.16)") });
      for (const style of styles) series.push({ points: { show: xs.length < 2 }, spanGaps: false, ...style });
    }
    if (series.length === 1) series.push({});
    const scale = (which, isLog) => ({ distr: isLog ? 3 : 1, time: which === "x" && state.x === "time", range: (plot, low, high) => this.range(plot, which, isLog, low, high) });
    const axis = { stroke: color("faint"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const log = { splits: (plot, which, low, high) => logTicks(low, high), filter: (plot, splits) => splits };
    const texts = (write) => ({ values: (plot, splits) => splits.map((split) => (split === null ? "" : write(split))) });
    return {
      width: Math.max(this.box.clientWidth, 120),
      height: Math.max(this.box.clientHeight, 120),
      series, bands,
      legend: { show: false },
      padding: [8, 22, 0, 0],
      scales: { x: scale("x", state.logx), y: scale("y", state.logy) },
      axes: [
        { ...axis, size: 30, space: this.box.clientWidth > 600 ? 70 : 36, ...(state.x === "step" && { incrs: STEPS }), ...(state.logx && log), ...(state.x === "relative" && texts(duration)) },
        { ...axis, size: 58, space: 34, ...(state.logy && log), ...texts((value) => short(value, 4)) },
      ],
      cursor: { sync: { key: "charts", scales: ["x", null] }, points: { size: 6 }, hover: { skip: [null, undefined] }, drag: { x: true, y: false } },
      hooks: {
        drawAxes: [(plot) => drawBackground(plot, this.metric)],
        setScale: [(plot, key) => key === "x" && (zoom = isZoomed(plot) ? [plot.scales.x.min, plot.scales.x.max] : null)],
        setCursor: [(plot) => this.showValues(plot.cursor.left >= 0 ? plot.data[0][plot.cursor.idx] : null)],
      },
    };
  }

  /** Return the range of an axis: all that is in colour, and most of the rest. `isLog`: as drawn, whatever the state is now. */
  range(plot, which, isLog, low, high) {
    const xs = plot.data[0];
    const isPart = which === "x" && low !== null && (low !== xs[0] || high !== xs[xs.length - 1]);
    const [least, most] = this.ranges[which];
    let [from, to] = isPart ? [low, high] : [Math.min(low ?? Infinity, least), Math.max(high ?? -Infinity, most)];
    if (!(from <= to)) [from, to] = isLog ? [0.1, 1] : [0, 1];
    const half = which === "x" ? 0.5 : Math.abs(from || 1) * 0.1;
    if (from === to) [from, to] = [from - half, to + half];
    if (isLog) return which === "x" ? [Math.max(from, 1e-9), to] : [Math.max(from, 1e-300) / 1.08, to * 1.08];
    if (which === "x") return [from, to];
    const margin = (to - from) * 0.05;
    return [from >= 0 && from - margin < 0 ? 0 : from - margin, to + margin];
  }

  drawLegend() {
    const items = [...view.chosen].map(([of, place]) => {
      const lines = this.lines.filter((line) => line.of === of);
      if (!lines.length) return "";
      const values = lines.map((line) => h("span", { class: "of" }, lines.length > 1 && faint(plain(line.metric)), (line.output = h("b"))));
      const name = view.groups ? groupLabel(of) : h("span", { class: "id" }, plain(of.short));
      return h("li", {}, h("span", { class: "name" }, swatch(place), name), values, this.isLarge && !view.groups && faint(distinction(of) || labelOf(of, 2)));
    });
    this.legend.replaceChildren(...items);
    this.showValues(null);
  }

  /** Show the values under the pointer, or at rest the best or last ones. */
  showValues(x) {
    const isAtRest = isMissing(x);
    this.at.textContent = isAtRest ? "" : { step: `step ${short(x)}`, time: when(x), relative: duration(x) }[state.x];
    for (const line of this.lines) if (line.output) line.output.textContent = isAtRest ? valueText(line.of.metrics[line.metric]) : short(line.raw[nearest(line.xs, x)] ?? NaN);
  }

  sentence() {
    const [name, all] = [plain(this.metric), counted(view.runs.length, "run")];
    if (!view.best || this.metric !== meta.primary.name) return `${name} of ${all}, ${this.lines.length} curves in colour`;
    const { best, short: id } = view.best;
    return `${superlative()} ${name} ${valueText(best?.metrics[this.metric])} by ${plain(id)} at step ${best?.step}, of ${all}`;
  }

  /** Arrows move along the curve; escape shows all of it. */
  key(event) {
    const data = this.plot?.data[0] ?? [];
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -data.length, End: data.length };
    if (event.key === "Escape") return resetZoom();
    if (!(event.key in moves) || !data.length) return undefined;
    event.preventDefault();
    this.place = Math.max(0, Math.min(data.length - 1, (this.place ?? data.length) + moves[event.key]));
    return this.plot.setCursor({ left: this.plot.valToPos(data[this.place], "x"), top: 10 });
  }
}

/** Mark the best checkpoint in the line of its run, by a further column in which nothing else is. */
function markBest({ of, xs, columns, styles }) {
  const { step, time } = of.best;
  const at = nearest(xs, { step, relative: time, time: of.created + time }[state.x]);
  columns.push(Array(xs.length).fill(null).with(at, columns[0][at]));
  styles.push({ points: { show: true, size: 12, width: 2, fill: curveColor(0), stroke: color("card") } });
}

const superlative = () => (meta.primary.goal === "maximize" ? "highest" : "lowest");

/** Return the params that tell a run, or a group, from the others in colour. */
function distinction({ params }) {
  const differs = (name) => [...view.chosen.keys()].some((other) => valueText(other.params[name]) !== valueText(params[name]));
  return pairs(params, Object.keys(params).filter(differs).slice(0, 3));
}

const groupLabel = (group) => `${distinction(group) || "all runs"} (n = ${group.runs.length})`;

/** Return the place of the number that is nearest, of numbers in ascending order. */
function nearest(xs, x) {
  const next = xs.findIndex((each) => each >= x);
  if (next < 1) return next < 0 ? xs.length - 1 : 0;
  return xs[next] - x < x - xs[next - 1] ? next : next - 1;
}

function isZoomed(plot) {
  const [data, { min, max }] = [plot.data[0], plot.scales.x];
  return min > data[0] || max < data[data.length - 1];
}

function forgetAxis() {
  backgrounds.clear();
  zoom = null;
}

function resetZoom() {
  zoom = null;
  drawCharts();
}

const drawCharts = (always) => charts.forEach((chart) => chart.refresh(always));

function buildCharts() {
  for (const [place, group] of chartGroups().entries()) {
    charts.push(new Chart(group, place === 0));
    $(place === 0 ? ".main-chart" : ".charts").append(charts[place].card);
  }
  if (!charts.length) $(".main-chart").append(h("section", { class: "card large empty faint" }, "These runs have no metrics yet."));
}
