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
  const own = {
    created: (run) => new Date(run.created * 1000).toISOString(),
    tags: (run) => (run.tags ?? []).join(", "),
  };
  const cells = (row) => columns.map(({ name, find }) => (own[name] ?? find)(row));
  const rows = visible().map((row) => [view.groups ? row.runs.length : row.id, ...cells(row)]);
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
  const area = { left: 70, top: 44, right: width - 20, bottom: height - 48 - 18 * Math.ceil(lines.length / 3) };
  const [shareX, shareY] = [shareOf(plot.scales.x, state.logx), shareOf(plot.scales.y, state.logy)];
  const toX = (value) => area.left + shareX(value) * (area.right - area.left);
  const toY = (value) => area.bottom - shareY(value) * (area.bottom - area.top);
  const point = (x, y) => [toX(x), y == null ? y : toY(y)];
  const path = (points, stroke, more) => s("path", { d: pathOf(points), fill: "none", stroke, ...more });
  const ticks = ({ _splits: splits, _values: texts }, to) => (splits ?? []).map((split, at) => [to(split), plain(texts[at] ?? "")]).filter(([, text]) => text);
  const others = greyPoints(metric).slice(0, 300).map(({ x, y }) => path(Array.from(x, (each, at) => point(each, y[at])), color("curve-other")));
  const shown = plot.data.slice(1).map((ys, at) => {
    const { _stroke: stroke, width: thickness, dash, alpha } = plot.series[at + 1];
    const points = ys.map((y, place) => point(plot.data[0][place], y));
    return path(points, stroke ?? "none", { "stroke-width": thickness, "stroke-dasharray": (dash ?? []).join(" "), opacity: alpha });
  });
  const svg = s("svg", { width, height, "font-family": "system-ui, sans-serif", "font-size": 12, fill: color("faint") },
    s("clipPath", { id: "area" }, s("rect", { x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top })),
    s("rect", { width: "100%", height: "100%", fill: color("card") }),
    s("text", { x: 16, y: 26, "font-weight": 600, "font-size": 15, fill: color("text") }, plain(group.name)),
    gridOf(area, ticks(plot.axes[0], toX), ticks(plot.axes[1], toY), color("grid")),
    s("g", { "clip-path": "url(#area)" }, others, shown), lines.map((line, at) => svgLegend(line, at, area)));
  return new XMLSerializer().serializeToString(svg);
}

function svgLegend({ of, place, metric }, at, { left, right, bottom }) {
  const [x, y] = [left + (at % 3) * ((right - left) / 3), bottom + 42 + 18 * Math.floor(at / 3)];
  const text = view.groups ? groupLabel(of) : `${of.short} ${metric} ${distinction(of)}`;
  return [s("path", { d: `M${x} ${y - 4}h16`, stroke: curveColor(place), "stroke-width": 2 }), s("text", { x: x + 22, y }, cut(plain(text), 38))];
}
