// The page: its parts, what is drawn when, its keys.

const KEYS = [
  ["/", "filter"], ["↑ ↓ or j k", "move in the table"], ["space", "choose the run, which draws its curve in colour"],
  ["enter", "all about the run"], ["d", "what differs between the chosen runs, code included"], ["g", "group by all but the seed"],
  ["c", "copy the command that gets the run back"], ["t", "light or dark"], ["← →", "move along a chart that has the focus"],
  ["double click, or z", "show all of the x axis again"], ["esc", "close, or choose nothing"], ["?", "this help"],
];
const FILTER_HELP = "A filter compares params, metrics of the best checkpoint, and status, created, duration, user, host, command, tags and the like: val_loss < 0.2 and (optimizer = adam or lr in (0.1, 0.01)) and not status = failed and created > 2 days ago";

function start(text, bytes) {
  load(text, bytes);
  Object.assign(state, readHash());
  document.title = `${plain(meta.title ?? "Report")} · Keepsake`;
  document.documentElement.dataset.theme = state.theme;
  build();
  recompute();
  redraw();
  watch("filter group", () => {
    recompute();
    redraw();
  });
  watch("sort", () => {
    const before = [...view.chosen.keys()];
    recompute();
    drawTools();
    drawTable();
    if ([...view.chosen.keys()].some((each, place) => each !== before[place])) drawPictures();
  });
  watch("ticked", () => {
    view.chosen = chosen();
    drawTray();
    markRows();
    drawPictures();
    if (state.compare) drawPanel();
  });
  watch("columns", drawTable);
  watch("x", () => {
    backgrounds.clear();
    zoom = null;
  });
  watch("x logx logy smooth", () => {
    drawControls();
    drawCharts();
  });
  watch("open compare", () => {
    drawPanel();
    markRows();
  });
  watch("scatter", () => drawScatter());
  watch("theme", () => {
    document.documentElement.dataset.theme = state.theme;
    recolor();
  });
  listen();
  document.body.dataset.ready = "1";
}

function listen() {
  window.addEventListener("hashchange", () => set(readHash()));
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
}

/** Draw all that depends on which runs are visible. */
function redraw() {
  drawHead();
  drawTools();
  drawControls();
  drawTable();
  drawImportance();
  drawTray();
  drawPanel();
  drawPictures();
}

function drawPictures(always) {
  drawCharts(always);
  drawScatter(always);
  drawParallel(always);
}

function recolor() {
  colors.clear();
  drawPictures();
}

/** Draw what is not in sight, too, so that paper shows it. */
function print(isPrinted) {
  view.printed = isPrinted;
  drawRows();
  drawPictures(isPrinted);
}

function build() {
  const part = (id, tag = "section", kind = "card") => h(tag, { id, class: kind });
  const [large, small] = [h("div", { class: "main-chart" }), h("div", { class: "charts" })];
  document.getElementById("page").replaceChildren(
    part("head", "header", ""), part("answer", "section", ""), part("controls", "div", "controls"),
    h("div", { class: "top" }, large, part("importance")),
    h("section", { class: "card wide" }, part("tools", "div", "tools"), part("table", "div", "")),
    small,
    h("div", { class: "pair" }, part("scatter"), part("parallel")),
    part("foot", "footer", ""),
  );
  document.body.append(
    h("aside", { id: "panel", "aria-label": "Details", hidden: true }), h("div", { id: "tray", hidden: true }),
    h("div", { id: "toast", role: "status" }), helpDialog(),
  );
  buildTools();
  buildTable(document.getElementById("table"));
  buildCharts(large, small);
  buildScatter(document.getElementById("scatter"));
  buildParallel(document.getElementById("parallel"));
  buildFoot();
}

function switchTheme() {
  const isDark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  set({ theme: isDark ? "light" : "dark" });
}

// Tools

function buildTools() {
  const typed = (event) => {
    clearTimeout(buildTools.timer);
    buildTools.timer = setTimeout(() => set({ filter: event.target.value }), 120);
  };
  const filter = h("input", { id: "filter", type: "search", placeholder: example(), spellcheck: "false", autocomplete: "off", "aria-label": "Filter", "aria-describedby": "problem", input: typed });
  const seeds = seedNames();
  const group = h("button", { id: "group", click: switchGroup, title: "Mean and range of runs that differ in nothing else (g)" }, `Group by all but ${seeds.length ? plain(cut(seeds.join(", "), 20)) : "the seed"}`);
  const columns = h("details", { id: "columns", class: "menu", toggle: drawColumnList }, h("summary", {}, "Columns"), h("div", { class: "list" }));
  const csv = h("button", { id: "csv", click: exportCsv, title: "What the table shows, as a file" }, "CSV");
  document.getElementById("tools").replaceChildren(filter, h("span", { id: "count", class: "faint", role: "status" }), h("span", { class: "gap" }), group, columns, csv, h("p", { id: "problem", role: "alert" }));
}

function example() {
  const metric = meta.primary?.name ?? "val_loss";
  const param = differingParams()[0];
  const value = param && runs[0].params[param];
  return `Filter: ${metric} < ${short(runs[0]?.metrics[metric] ?? 0.2, 2)}${param ? ` and ${conditionText(param, "=", isMissing(value) ? 1 : value)}` : ""}`.slice(0, 80);
}

function drawTools() {
  const count = view.runs.length === runs.length ? counted(runs.length, "run") : `${view.runs.length.toLocaleString("en-US")} of ${counted(runs.length, "run")}`;
  document.getElementById("count").textContent = view.groups ? `${counted(view.groups.length, "group")}, ${count}` : count;
  const problem = document.getElementById("problem");
  problem.textContent = view.error;
  problem.hidden = !view.error;
  const input = document.getElementById("filter");
  input.setAttribute("aria-invalid", String(Boolean(view.error)));
  if (document.activeElement !== input) input.value = state.filter;
  document.getElementById("group").setAttribute("aria-pressed", String(Boolean(state.group)));
}

function switchGroup() {
  set({ group: state.group ? "" : joined(seedNames()) || "seed", sort: "" });
}

function drawColumnList({ target }) {
  const switched = list("columns");
  const items = allColumns().map(({ name, title, shown }) => {
    const input = h("input", { type: "checkbox", change: () => set({ columns: toggled("columns", name) }) });
    input.checked = Boolean(shown) !== switched.includes(name);
    return h("label", {}, input, plain(cut(title, 40)));
  });
  if (target.open) target.querySelector(".list").replaceChildren(...items);
}

function drawControls() {
  const box = document.getElementById("controls");
  if (document.activeElement.type === "range" && box.contains(document.activeElement)) return; // it is being moved
  const button = (key, value, text, otherwise = state[key]) => h("button", { "aria-pressed": String(state[key] === value), click: () => set({ [key]: state[key] === value ? otherwise : value }) }, text);
  const slider = h("input", { type: "range", min: 0, max: 0.98, step: 0.02, "aria-label": "Smoothing", input: (event) => set({ smooth: event.target.value }) });
  slider.value = state.smooth;
  box.replaceChildren(
    h("span", { class: "buttons", role: "group", "aria-label": "Across" }, button("x", "step", "Step"), button("x", "relative", "Duration"), button("x", "time", "Time")),
    h("span", { class: "buttons", role: "group", "aria-label": "Scales" }, button("logx", "1", "log x", ""), button("logy", "1", "log y", "")),
    h("label", { class: "faint" }, "Smoothing", slider),
    h("span", { class: "faint gap" }, "Drag in a chart to zoom"),
  );
}

/** Draw the strip at the bottom: the runs that are ticked. */
function drawTray() {
  const tray = document.getElementById("tray");
  const ticked = tickedRuns();
  tray.hidden = !ticked.length;
  const chips = ticked.slice(0, MOST).map((run) => {
    const away = () => set({ ticked: toggled("ticked", run.id) });
    return h("button", { class: "chip", click: away, title: "Take it away" }, swatch(view.chosen.get(run)), h("span", { class: "id" }, plain(run.short)));
  });
  tray.replaceChildren(
    ...chips, h("span", { class: "faint what" }, aboutTicked(ticked)), h("span", { class: "gap" }),
    h("button", { id: "compare", class: "strong", disabled: ticked.length < 2, click: compareTicked }, "Compare", h("kbd", {}, "d")),
    h("button", { class: "quiet", click: () => set({ ticked: "", compare: "" }), "aria-label": "Choose nothing" }, "✕"),
  );
}

/** Say whether the code of two runs differs, and that there are no more colours than ten. */
function aboutTicked(ticked) {
  if (ticked.length >= MOST) return "Ten curves at most are in colour.";
  const changed = ticked.length === 2 && meta.code ? changedFiles(...ticked) : "";
  if (typeof changed === "string") return "";
  const some = changed.slice(0, 3).map(([name]) => plain(name)).join(", ");
  return changed.length ? `Code differs: ${some}${changed.length > 3 ? ` and ${changed.length - 3} more` : ""}` : "The code is the same";
}

function compareTicked() {
  if (tickedRuns().length > 1) set({ compare: "1", open: "" });
  else toast("Choose two runs first, with space or a click on their boxes.");
}

// Foot, help, keys

function buildFoot() {
  const licences = meta.licences.map(({ name, text }) => h("details", {}, h("summary", {}, name), h("pre", {}, text)));
  document.getElementById("foot").replaceChildren(
    h("ul", { id: "notes" }, meta.notes.map((note) => h("li", {}, plain(note)))),
    h("p", { class: "faint" }, "Made by Keepsake. This file holds everything that it shows, and loads nothing. In it:"), ...licences,
  );
}

function helpDialog() {
  const rows = KEYS.map(([keys, text]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, keys)), h("td", {}, text)));
  const closeOutside = ({ target }) => target.id === "help" && target.close();
  return h("dialog", { id: "help", "aria-label": "Help", click: closeOutside },
    h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("table", { class: "plain" }, h("tbody", {}, rows)), h("h3", {}, "Filter"), h("p", {}, FILTER_HELP), h("button", {}, "Close")));
}

const showHelp = () => document.getElementById("help").showModal();

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "checkbox";
  const keys = { "/": focusFilter, d: compareTicked, g: switchGroup, t: switchTheme, z: resetZoom, c: copyCurrent, "?": showHelp };
  if (key === "Escape") {
    leave(target, isTyping);
  } else if (!isTyping && Object.hasOwn(keys, key)) {
    event.preventDefault();
    keys[key]();
  } else if (["ArrowDown", "j"].includes(key) && target === document.body) {
    event.preventDefault();
    moveCursor(cursor);
  }
}

function leave(target, isTyping) {
  if (isTyping) {
    target.blur();
    document.querySelector("#runs tr[tabindex='0']")?.focus({ preventScroll: true });
  } else if (state.open || state.compare) set({ open: "", compare: "" });
  else if (state.ticked) set({ ticked: "" });
}

function focusFilter() {
  const input = document.getElementById("filter");
  input.focus();
  input.select();
}

function copyCurrent() {
  const run = byId.get(state.open) ?? (document.activeElement.tagName === "TR" && !view.groups ? view.runs[cursor] : view.best);
  if (run) copyText(command(run));
}
