// One value over another, a point per run, and a third as colour.

let drawScatter;

/** Return the names that are drawn: x, y and colour. */
function scatterNames() {
  const [x, y, third] = list("scatter");
  const first = allImportances()[0]?.[0] ?? differingParams().find((name) => typeof runs[0].params[name] === "number") ?? differingParams()[0];
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  return [x || (first ? `params.${first}` : "created"), y || (metric ? `metrics.${metric}` : "duration"), third ?? ""];
}

function buildScatter() {
  const names = ["params", "metrics"].flatMap((kind) => namesOf(kind).map((name) => `${kind}.${name}`));
  for (const select of document.querySelectorAll("#scatter select")) {
    const change = () => set({ scatter: joined(scatterNames().with(select.dataset.place, select.value)) });
    const choices = ["created", "duration", "step", ...names].map((name) => h("option", { value: name }, cut(plain(bareName(name)), 40)));
    fill(select, { change }, choices);
  }
  drawScatter = whenSeen($("#scatter .drawing"), scatter);
}

function scatter() {
  const names = scatterNames();
  for (const select of document.querySelectorAll("#scatter select")) select.value = names[select.dataset.place];
  const [find, findY] = names.map(safeGetter);
  const [across, up] = [axisOf(runs.map(find)), axisOf(runs.map(findY))];
  const label = `${counted(view.runs.length, "run")}: ${plain(names[1])} over ${plain(names[0])}`;
  const [svg, width] = emptyDrawing($("#scatter .drawing"), label);
  const area = { left: 62, top: 12, right: width - 16, bottom: HEIGHT - 30 };
  const inset = (share) => 0.03 + 0.94 * share; // leaves room for the points at the edges
  const toX = (place) => area.left + inset(place) * (area.right - area.left);
  const toY = (place) => area.bottom - inset(place) * (area.bottom - area.top);
  const ticks = (name, axis, to) => axis.ticks.map(([place, text]) => [to(place), tickText(name, text)]);
  svg.append(gridOf(area, ticks(names[0], across, toX), ticks(names[1], up, toY), "var(--grid)"));
  const colorOf = pointColor(names[2]);
  for (const run of view.runs.toReversed()) { // the best ones last
    const [cx, cy] = [toX(across.place(find(run))), toY(up.place(findY(run)))];
    const isChosen = view.chosen.has(run);
    const look = { cx, cy, r: isChosen ? 6 : 4, fill: colorOf(run), class: isChosen ? "chosen" : "" };
    if (cx === cx && cy === cy) svg.append(fill(pointOf(run), look));
  }
}

const pointOf = remembered((run) => s("circle", { "data-id": run.id }));

const tickText = (name, text) => (name === "created" ? when(Number(text)).slice(0, -6) : name === "duration" ? duration(Number(text)) : text);

/** Return a function from a run to the colour of its point. */
function pointColor(name) {
  if (!name) return (run) => `var(--${run.status === "stopped" ? "scale-high" : `status-${run.status}`})`;
  const find = safeGetter(name);
  const { names, place } = axisOf(view.runs.map(find));
  return (run) => {
    const value = find(run);
    if (isMissing(value)) return "var(--curve-other)";
    return names?.length <= CURVES ? `var(--curve-${names.indexOf(valueText(value))})` : shade(place(value));
  };
}

/** Say what the point under the pointer is. */
function showPoint({ target, currentTarget }) {
  const [note, run] = [currentTarget.querySelector(".tip"), byId.get(target.dataset.id)];
  note.hidden = !run;
  if (!run) return;
  const text = (name, value) => (name === "created" ? when(value) : name === "duration" ? duration(value) : cut(valueText(value), 60));
  const values = scatterNames().filter(Boolean).map((name) => `${plain(bareName(name))} ${text(name, safeGetter(name)(run))}`);
  note.textContent = [plain(run.short), ...values].join(" · ");
  const [x, y] = ["cx", "cy"].map((name) => Number(target.getAttribute(name)));
  note.style.left = `${Math.max(0, Math.min(x + 10, currentTarget.clientWidth - note.offsetWidth))}px`;
  note.style.top = `${Math.max(0, y - 34)}px`;
}

function openPoint({ target }) {
  if (target.dataset.id) set({ open: target.dataset.id, compare: "" });
}
