// What can be taken along: the clipboard, CSV, PNG and SVG.

const isFrame = location.protocol === "about:"; // of a notebook: browsers do not save files from it

async function copyText(text, said = `Copied: ${plain(text)}`, otherwise = `Copy this: ${plain(cut(text, 300))}`) {
  const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  toast(isCopied || copyOldWay(text) ? said : otherwise);
}

/** Copy in the way that a frame, or an older browser, allows. */
function copyOldWay(text) {
  const box = document.body.appendChild(h("textarea", { class: "hidden" }));
  box.value = text;
  box.select();
  const isCopied = document.execCommand("copy");
  box.remove();
  return isCopied;
}

async function download(blob, name) {
  if (isFrame) {
    const advice = 'A notebook saves no files. experiments.report("report.html") writes a page that does.';
    if (blob.type === "image/png") toast(advice);
    else copyText(await blob.text(), `Copied ${name} to the clipboard. ${advice}`, advice);
    return;
  }
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Return a value for a spreadsheet, which must not take a text for a formula. */
function csvCell(value) {
  if (isMissing(value)) return Number.isNaN(value) ? "NaN" : "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Return the visible runs, or groups, as CSV: all columns that are shown, with exact values. */
function csvText() {
  const columns = shownColumns();
  const cell = (run) => ({ name, find }) => (name === "created" ? new Date(run.created * 1000).toISOString() : name === "tags" ? (run.tags ?? []).join(", ") : find(run));
  const rows = view.groups
    ? view.groups.map((group) => [group.runs.length, ...columns.map(({ name }) => groupGetter(name)(group))])
    : view.runs.map((run) => [run.id, ...columns.map(cell(run))]);
  const head = [view.groups ? "n" : "id", ...columns.map(({ name }) => bareName(name))];
  return [head, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

function exportCsv() {
  download(new Blob([csvText()], { type: "text/csv" }), `${fileName(meta.title ?? "runs")}.csv`);
}

function fileName(text) {
  return text.replace(/[^\w.-]+/g, "-").slice(0, 60) || "report";
}

async function exportChart(chart, kind) {
  const svg = chartSvg(chart);
  const name = `${fileName(chart.group.name)}.${kind}`;
  if (kind === "svg") return download(new Blob([svg], { type: "image/svg+xml" }), name);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await picture.decode();
  const canvas = h("canvas", { width: picture.width * 2, height: picture.height * 2 });
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.drawImage(picture, 0, 0);
  return canvas.toBlob((blob) => download(blob, name));
}

/** Return a chart, as it is shown now, as SVG. */
function chartSvg({ plot, group, lines, metric }) {
  const [width, height] = [760, 400];
  const [left, top, right, bottom] = [70, 44, width - 20, height - 48 - 18 * Math.ceil(lines.length / 3)];
  const [shareX, shareY] = [shareOf(plot.scales.x, state.logx), shareOf(plot.scales.y, state.logy)];
  const toX = (value) => left + shareX(value) * (right - left);
  const toY = (value) => bottom - shareY(value) * (bottom - top);
  const point = (x, y) => [toX(x), y == null ? y : toY(y)];
  const path = (points, stroke, more) => s("path", { d: pathOf(points), fill: "none", stroke, ...more });
  const write = (x, y, text, more) => s("text", { x: x.toFixed(1), y: y.toFixed(1), ...more }, plain(text));
  const ticks = (axis, make) => (axis._splits ?? []).map((split, at) => split !== null && axis._values[at] && make(split, axis._values[at]));
  const labels = lines.map(({ of, place, metric: own }, at) => {
    const [x, y] = [left + (at % 3) * ((right - left) / 3), bottom + 42 + 18 * Math.floor(at / 3)];
    const text = view.groups ? groupLabel(of) : `${of.short} ${own} ${distinction(of)}`;
    return [path([[x, y - 4], [x + 16, y - 4]], curveColor(place), { "stroke-width": 2 }), write(x + 22, y, cut(text, 38))];
  });
  const others = greyPoints(metric).slice(0, 300).map((flat) => {
    const points = Array.from({ length: flat.length / 2 }, (_, at) => point(flat[2 * at], flat[2 * at + 1]));
    return path(points, color("curve-other"));
  });
  const shown = plot.data.slice(1).map((ys, at) => {
    const { _stroke: stroke, width: thickness, dash, alpha } = plot.series[at + 1];
    const points = ys.map((y, place) => point(plot.data[0][place], y));
    return path(points, stroke ?? "none", { "stroke-width": thickness, "stroke-dasharray": (dash ?? []).join(" "), opacity: alpha });
  });
  const svg = s("svg", { width, height, "font-family": "system-ui, sans-serif", "font-size": 12, fill: color("faint") },
    s("clipPath", { id: "area" }, s("rect", { x: left, y: top, width: right - left, height: bottom - top })),
    s("rect", { width: "100%", height: "100%", fill: color("card") }),
    write(16, 26, group.name, { "font-weight": 600, "font-size": 15, fill: color("text") }),
    ticks(plot.axes[0], (split, text) => write(toX(split), bottom + 18, text, { "text-anchor": "middle" })),
    ticks(plot.axes[1], (split, text) => [
      path([[left, toY(split)], [right, toY(split)]], color("grid")), write(left - 8, toY(split) + 4, text, { "text-anchor": "end" }),
    ]),
    s("g", { "clip-path": "url(#area)" }, others, shown), labels);
  return new XMLSerializer().serializeToString(svg);
}
