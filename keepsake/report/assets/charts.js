// Curves: a large chart for the primary metric, and a small one for each other, with uPlot.

const MOST = 10; // runs in colour
const FEW_RUNS = 6; // so few are all in colour, if none is chosen
const STEPS = [1, 2, 5].flatMap((factor) => [...Array(16).keys()].map((power) => factor * 10 ** power)).sort((one, other) => one - other);
const GROUPS = 5; // groups in colour
const DASHES = [[], [6, 3], [2, 3]]; // the next one each time the colours start again
const charts = [];
let zoom = null; // the part of the x axis that is shown: [from, to]

/** Return the runs in colour: the best one, and those that are ticked; of a few runs all. */
function chosen() {
  let ticked = list("ticked").map((id) => byId.get(id)).filter(Boolean);
  if (!ticked.length && view.runs.length <= FEW_RUNS) ticked = view.runs;
  const some = view.best && !ticked.includes(view.best) ? [view.best, ...ticked] : ticked;
  const first = some.length ? some : view.runs.slice(0, 1);
  return first.slice(0, MOST).map((run, place) => ({ run, color: curveColor(place), dash: DASHES[Math.floor(place / CURVES)] }));
}

function chosenGroups() {
  return (view.groups ?? []).slice(0, GROUPS).map((group, place) => ({ group, color: curveColor(place) }));
}

/** Return values smoothed by an exponential moving average; the first ones count less. */
function smoothed(values, weight) {
  let [average, total] = [0, 0];
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    average = average * weight + value * (1 - weight);
    total = total * weight + (1 - weight);
    return average / total;
  });
}

/** Return [x values, y values] that uPlot can draw: sorted, and null for what has no place on the axis. */
function drawable(curve) {
  let points = Array.from(curve.xs, (x, place) => [x, curve.ys[place]]);
  if (state.logx) points = points.filter(([x]) => x > 0);
  if (points.some(([x], place) => place && x < points[place - 1][0])) points.sort(([one], [other]) => one - other);
  const isDrawn = (y) => Number.isFinite(y) && (!state.logy || y > 0);
  return [points.map(([x]) => x), points.map(([, y]) => (isDrawn(y) ? y : null))];
}

class Chart {
  constructor(group, isLarge) {
    this.group = group;
    this.isLarge = isLarge;
    this.metric = group.metrics.find((name) => !isTrain(name)) ?? group.metrics[0]; // of the background
    this.box = h("div", { class: "plot", tabindex: 0, role: "img", keydown: (event) => this.key(event) });
    this.legend = h("ul", { class: "legend" });
    const exports = ["png", "svg"].map((kind) => h("button", { class: "quiet", click: () => exportChart(this, kind) }, kind.toUpperCase()));
    const title = h(isLarge ? "h2" : "h3", {}, plain(group.name), group.metrics.length > 1 && h("span", { class: "faint" }, group.metrics.map(plain).join(", ")));
    this.at = h("span", { class: "at faint" });
    this.card = h("section", { class: `card chart ${isLarge ? "large" : "small"}` }, h("header", {}, title, this.at, h("span", { class: "tools" }, exports)), this.box, this.legend);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
    new IntersectionObserver(([entry]) => {
      this.isInSight = entry.isIntersecting;
      if (this.isInSight && this.isStale) this.draw();
    }, { rootMargin: "200px" }).observe(this.card);
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 120), height: this.isLarge ? 300 : 170 };
  }

  refresh() {
    this.isStale = true;
    if (this.isInSight || this.isLarge) this.draw();
  }

  draw() {
    this.isStale = false;
    this.lines = state.group && view.groups ? this.groupLines() : this.runLines();
    const tables = this.lines.map((line) => [line.xs, ...line.columns]);
    const data = tables.length ? uPlot.join(tables) : [[], []];
    const shown = zoom;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), data, this.box);
    if (shown) this.plot.setScale("x", { min: shown[0], max: shown[1] });
    this.drawLegend(null);
    this.box.setAttribute("aria-label", this.sentence());
  }

  /** Return a line for each chosen run and metric: {key, color, dash, xs, columns, styles}. */
  runLines() {
    const weight = Number(state.smooth);
    const lines = [];
    for (const { run, color: stroke, dash } of chosen()) {
      for (const metric of this.group.metrics) {
        const curve = curveOf(metric, run);
        if (!curve) continue;
        const [xs, ys] = drawable(curve);
        const dashes = isTrain(metric) && this.group.metrics.length > 1 ? [4, 4] : dash;
        const style = { stroke, dash: dashes, width: 1.75 };
        const columns = weight ? [ys, smoothed(ys, weight)] : [ys];
        const styles = weight ? [{ ...style, alpha: 0.3, width: 1 }, style] : [style];
        lines.push({ run, metric, color: stroke, xs, columns, styles, curve, own: xs.map((_, place) => ys[place]) });
      }
    }
    return lines;
  }

  groupLines() {
    const weight = Number(state.smooth);
    const lines = [];
    for (const { group, color: stroke } of chosenGroups()) {
      const found = meanCurve(this.metric, group.runs);
      if (!found) continue;
      const [mean, low, high] = weight ? found.slice(1).map((values) => smoothed(values, weight)) : found.slice(1);
      const edge = { stroke: "transparent", width: 0 };
      lines.push({ group, color: stroke, metric: this.metric, xs: found[0], columns: [high, low, mean], styles: [edge, edge, { stroke, width: 2 }], own: mean, band: true });
    }
    return lines;
  }

  options() {
    const series = [{}];
    const bands = [];
    for (const line of this.lines) {
      if (line.band) bands.push({ series: [series.length, series.length + 1], fill: line.color.replace("rgb(", "rgba(").replace(")", ", 0.16)") });
      for (const style of line.styles) series.push({ ...style, points: { show: line.xs.length < 2 }, spanGaps: false });
    }
    if (series.length === 1) series.push({});
    const logSplits = (plot, axis, low, high) => logTicks(low, high);
    const axis = { stroke: color("faint"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const range = (which) => (plot, low, high) => this.range(plot, which, low, high);
    return {
      ...this.size(),
      series, bands,
      legend: { show: false },
      padding: [8, 22, 0, 0],
      scales: { x: { time: state.x === "time", distr: state.logx ? 3 : 1, range: range("x") }, y: { distr: state.logy ? 3 : 1, range: range("y") } },
      axes: [
        { ...axis, size: 30, space: 70, ...(state.x === "step" && { incrs: STEPS }), ...(state.logx && { splits: logSplits, filter: (plot, splits) => splits }), ...(state.x === "relative" && { values: (plot, splits) => splits.map((split) => (split === null ? "" : duration(split))) }) },
        { ...axis, size: 58, space: 34, ...(state.logy && { splits: logSplits, filter: (plot, splits) => splits }), values: (plot, splits) => splits.map((split) => (split === null ? "" : short(split, 4))) },
      ],
      cursor: { sync: { key: "charts", scales: ["x", null] }, points: { size: 6 }, dataIdx: nearest, drag: { x: true, y: false } },
      hooks: {
        drawAxes: [(plot) => drawBackground(plot, this.metric)],
        draw: [(plot) => this.drawBest(plot)],
        setScale: [(plot, key) => key === "x" && (zoom = isZoomed(plot) ? [plot.scales.x.min, plot.scales.x.max] : null)],
        setCursor: [(plot) => this.drawLegend(plot.cursor.left >= 0 ? plot.cursor.idx : null)],
      },
    };
  }

  /** Return the range of an axis: all that is in colour, and most of the rest. */
  range(plot, which, low, high) {
    const [least, most] = backgroundRange(this.metric, which);
    const isPart = which === "x" && low !== null && (low !== plot.data[0][0] || high !== plot.data[0][plot.data[0].length - 1]);
    let [from, to] = isPart ? [low, high] : [Math.min(low ?? Infinity, least), Math.max(high ?? -Infinity, most)];
    if (!(from <= to)) [from, to] = [state.logy && which === "y" ? 0.1 : 0, 1];
    if (from === to) [from, to] = which === "x" ? [from - 0.5, to + 0.5] : [from - Math.abs(from || 1) * 0.1, to + Math.abs(to || 1) * 0.1];
    if (which === "x") return state.logx ? [Math.max(from, 1e-9), to] : [from, to];
    if (state.logy) return [Math.max(from, 1e-300) / 1.08, to * 1.08];
    const margin = (to - from) * 0.05;
    return [from >= 0 && from - margin < 0 ? 0 : from - margin, to + margin];
  }

  /** Mark the best checkpoint of the best run. */
  drawBest(plot) {
    const best = view.best;
    const value = best?.best?.metrics[this.metric];
    if (view.groups || this.metric !== meta.primary?.name || !Number.isFinite(value)) return;
    const x = { step: best.best.step, relative: best.best.time, time: best.created + best.best.time }[state.x];
    const [left, top] = [plot.valToPos(x, "x", true), plot.valToPos(value, "y", true)];
    const { bbox, ctx } = plot;
    if (!(left >= bbox.left - 4 && left <= bbox.left + bbox.width + 4)) return;
    ctx.save();
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.arc(left, top, 5 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fillStyle = chosen()[0].color;
    ctx.strokeStyle = color("card");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.fill();
    ctx.stroke();
    ctx.restore();
  }

  /** Show the values under the pointer, or at rest the best or last ones. */
  drawLegend(place) {
    const x = place === null ? null : this.plot?.data[0][place];
    const isAtRest = isMissing(x);
    this.at.textContent = isAtRest ? "" : { step: `step ${short(x)}`, time: when(x), relative: duration(x) }[state.x];
    const shown = new Map(); // run or group → its lines
    for (const line of this.lines) shown.set(line.run ?? line.group, [...(shown.get(line.run ?? line.group) ?? []), line]);
    const items = [...shown].map(([of, lines]) => {
      const swatch = h("i", { class: "swatch" });
      swatch.style.background = lines[0].color;
      const values = lines.map((line) => [lines.length > 1 && h("span", { class: "faint" }, plain(line.metric)), h("b", {}, isAtRest ? atRest(line) : valueAt(line, x))]);
      const about = this.isLarge && lines[0].run && h("span", { class: "faint" }, labelOf(of, 2));
      return h("li", {}, swatch, lines[0].group ? groupLabel(of) : h("span", { class: "id" }, plain(of.short)), " ", values.flat(), about);
    });
    this.legend.replaceChildren(...items);
  }

  sentence() {
    const name = plain(this.metric);
    if (!view.best || this.metric !== meta.primary?.name) return `${name} of ${counted(view.runs.length, "run")}, ${this.lines.length} curves in colour`;
    const { best } = view.best;
    const kind = meta.primary.goal === "maximize" ? "highest" : "lowest";
    return `${kind} ${name} ${valueText(best?.metrics[this.metric])} by ${plain(view.best.short)} at step ${best?.step}, of ${counted(view.runs.length, "run")}`;
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

/** Return what tells a group from the other ones. */
function groupLabel(group) {
  const others = view.groups.slice(0, GROUPS);
  const names = Object.keys(group.params).filter((name) => others.some((other) => valueText(other.params[name]) !== valueText(group.params[name])));
  return `${pairs(group.params, names.slice(0, 3)) || "all runs"} (n = ${group.runs.length})`;
}

/** Return the place of the value of a series that is nearest to the pointer, because not all have one everywhere. */
function nearest(plot, series, place) {
  const values = plot.data[series];
  if (!values || !isMissing(values[place])) return place;
  for (let far = 1; far < 200; far++) {
    if (!isMissing(values[place - far])) return place - far;
    if (!isMissing(values[place + far])) return place + far;
  }
  return place;
}

function valueAt(line, x) {
  let [low, high] = [0, line.xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (line.xs[middle] <= x) low = middle;
    else high = middle;
  }
  const place = Math.abs((line.xs[high] ?? Infinity) - x) < Math.abs((line.xs[low] ?? Infinity) - x) ? high : low;
  const value = line.curve && !state.logx && line.curve.ys.length === line.own.length ? line.curve.ys[place] : line.own[place];
  return isMissing(value) && !Number.isNaN(value) ? "" : short(value);
}

function atRest(line) {
  if (line.run) return valueText(line.run.metrics[line.metric]);
  return short(line.group.metrics[line.metric]?.mean ?? NaN);
}

function isZoomed(plot) {
  const [data, { min, max }] = [plot.data[0], plot.scales.x];
  return min > data[0] || max < data[data.length - 1];
}

function resetZoom() {
  zoom = null;
  drawCharts();
}

const drawCharts = () => charts.forEach((chart) => chart.refresh());

function buildCharts(large, small) {
  const groups = chartGroups();
  groups.forEach((group, place) => {
    const chart = new Chart(group, place === 0);
    charts.push(chart);
    (place === 0 ? large : small).append(chart.card);
  });
}
