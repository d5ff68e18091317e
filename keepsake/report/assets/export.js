// What can be taken along: the clipboard, CSV, PNG and SVG.

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied: ${plain(text)}`);
  } catch {
    toast(`Copy this: ${plain(text)}`); // a frame or an old browser may refuse
  }
}

function download(blob, name) {
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
  const bare = (column) => column.name.replace(/^(params|metrics)\./, "");
  const head = [view.groups ? "n" : "id", ...columns.map(bare)];
  const cell = (run) => (column) => (column.name === "created" ? new Date(run.created * 1000).toISOString() : column.name === "tags" ? (run.tags ?? []).join(", ") : column.find(run));
  const rows = view.groups
    ? view.groups.map((group) => [group.runs.length, ...columns.map((column) => group.metrics[bare(column)]?.mean ?? group.params[bare(column)])])
    : view.runs.map((run) => [run.id, ...columns.map(cell(run))]);
  return [head, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
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

const escapeXml = (text) => plain(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Return a chart, as it is shown now, as SVG. */
function chartSvg(chart) {
  const { plot } = chart;
  const [width, height] = [760, 400];
  const area = { left: 70, top: 44, width: width - 90, height: height - 92 - 18 * Math.ceil(chart.lines.length / 3) };
  const share = (value, { min, max }, isLog) => (isLog ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min));
  const toX = (value) => area.left + share(value, plot.scales.x, state.logx) * area.width;
  const toY = (value) => area.top + (1 - share(value, plot.scales.y, state.logy)) * area.height;
  const texts = [];
  const write = (x, y, text, attributes = "") => texts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeXml(text)}</text>`);
  write(16, 26, chart.group.name, `font-weight="600" font-size="15" fill="${color("text")}"`);
  const grid = [];
  for (const [place, axis] of plot.axes.entries()) {
    const texts = axis._values ?? [];
    (axis._splits ?? []).forEach((split, at) => {
      if (split === null || !texts[at]) return;
      if (place === 0) write(toX(split), area.top + area.height + 18, texts[at], 'text-anchor="middle"');
      else {
        grid.push(`<path d="M${area.left} ${toY(split).toFixed(1)}h${area.width}" stroke="${color("grid")}"/>`);
        write(area.left - 8, toY(split) + 4, texts[at], 'text-anchor="end"');
      }
    });
  }
  chart.lines.forEach((line, place) => {
    const [x, y] = [area.left + (place % 3) * (area.width / 3), area.top + area.height + 42 + 18 * Math.floor(place / 3)];
    texts.push(`<path d="M${x} ${y - 4}h16" stroke="${line.color}" stroke-width="2"/>`);
    write(x + 22, y, cut(line.group ? groupLabel(line.group) : `${line.run.short} ${line.metric} ${labelOf(line.run, 1)}`, 38));
  });
  const paths = plot.data.slice(1).map((ys, place) => seriesPath(plot.data[0], ys, plot.series[place + 1], toX, toY));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${color("faint")}">
<clipPath id="area"><rect x="${area.left}" y="${area.top}" width="${area.width}" height="${area.height}"/></clipPath>
<rect width="100%" height="100%" fill="${color("card")}"/>${grid.join("")}<g clip-path="url(#area)">${otherPaths(chart, toX, toY)}${paths.join("")}</g>${texts.join("")}</svg>`;
}

function otherPaths(chart, toX, toY) {
  if (view.groups) return "";
  const found = backgroundOf(chart.metric);
  const path = (points) => points.reduce((text, x, at) => (at % 2 ? text : `${text}${text ? "L" : "M"}${toX(x).toFixed(1)} ${toY(points[at + 1]).toFixed(1)}`), "");
  return view.runs.map((run) => found.get(run.number)).filter((points) => points?.length).slice(0, 300).map((points) => `<path d="${path(points)}" fill="none" stroke="${color("curve-other")}"/>`).join("");
}

function seriesPath(xs, ys, series, toX, toY) {
  let [path, isDown] = ["", false];
  xs.forEach((x, place) => {
    const y = ys[place];
    if (y === undefined) return;
    if (y !== null) path += `${isDown ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`;
    isDown = y !== null;
  });
  const stroke = series._stroke ?? "none";
  return `<path d="${path}" fill="none" stroke="${stroke}" stroke-width="${series.width}" stroke-dasharray="${(series.dash ?? []).join(" ")}" opacity="${series.alpha}"/>`;
}
