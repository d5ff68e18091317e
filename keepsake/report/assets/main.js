// The page: what is drawn when, its tools and its keys. The elements that are always there are in page.html.

function start(text, bytes) {
  load(text, bytes);
  Object.assign(state, readHash());
  document.title = `${plain(meta.title ?? "Report")} · Keepsake`;
  $("#page").replaceChildren($("#skeleton").content);
  buildTools();
  buildCharts();
  buildScatter();
  buildParallel();
  parts = [
    [applyTheme, "theme"],
    [recompute, "filter group sort ticked"],
    [forgetAxis, "x"],
    [drawAnswer, "filter group"],
    [drawTools, "filter group sort x logx logy smooth"],
    [drawHeadings, "filter group sort columns"],
    [drawRows, "filter group sort columns ticked open compare"],
    [drawImportance, "filter"],
    [drawTray, "filter group sort ticked"],
    [drawPanel, "filter group open compare"],
    [() => state.compare && drawPanel(), "ticked"],
    [drawCharts, "filter group sort ticked x logx logy smooth theme"],
    [drawScatter, "filter group sort ticked scatter"],
    [drawParallel, "filter group sort ticked"],
  ];
  draw();
  listen();
  document.body.dataset.ready = "1";
}

function listen() {
  window.addEventListener("hashchange", () => set(readHash()));
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(["theme"]));
  document.addEventListener("keydown", onKey);
  new ResizeObserver(() => drawRows(false)).observe($(".scroller"));
  fill($(".scroller"), { scroll: () => requestAnimationFrame(() => drawRows(false)) });
  fill($("#runs"), { keydown: tableKey, click: clickRow, focusin: followFocus });
  fill($("#scatter .drawing"), { mouseover: showPoint, click: openPoint });
  fill($("#parallel .drawing"), { pointerdown: beginBrush });
  fill($("#columns"), { toggle: drawColumnList });
  fill($("#smooth"), { input: ({ target }) => set({ smooth: target.value }) });
  fill($("#help"), { click: ({ target }) => target.id === "help" && target.close() }); // outside of what is in it
  let timer;
  const typed = ({ target }) => {
    clearTimeout(timer);
    timer = setTimeout(() => set({ filter: target.value }), 120);
  };
  fill($("#filter"), { input: typed });
  const untick = () => set({ ticked: "", compare: "" });
  const clicks = { theme: switchTheme, keys: showHelp, group: switchGroup, csv: exportCsv, compare: compareTicked, untick };
  for (const [id, click] of Object.entries(clicks)) fill($(`#${id}`), { click });
}

function applyTheme() {
  document.documentElement.dataset.theme = view.printed ? "light" : state.theme;
  colors.clear();
}

function switchTheme() {
  const isDark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  set({ theme: isDark ? "light" : "dark" });
}

/** Draw what is not in sight, too, so that paper shows it, and in light colours. */
function print(isPrinted) {
  view.printed = isPrinted;
  applyTheme();
  drawRows();
  drawPictures(isPrinted);
}

const drawPictures = (always) => [drawCharts, drawScatter, drawParallel].forEach((part) => part(always));

// Tools

function buildTools() {
  $("#head h1").textContent = plain(meta.title ?? "Report");
  $("#head p").textContent = [counted(runs.length, "run"), meta.repository && plain(meta.repository), `made ${when(meta.made)}`].filter(Boolean).join(" · ");
  const seeds = seedNames().join(", ");
  $("#group").textContent = `Group by all but ${seeds ? plain(cut(seeds, 20)) : "the seed"}`;
  $("#filter").placeholder = `Filter, such as ${plain(cut(meta.primary?.name ?? "val_loss", 30))} < 0.2 and not status = failed`;
  $("#notes").append(...meta.notes.map((note) => h("li", {}, plain(note))));
  const press = ({ target: { dataset: { key, value } } }) => key && set({ [key]: state[key] === value ? DEFAULTS[key] : value });
  fill($("#controls"), { click: press });
}

function drawTools() {
  const some = view.runs.length === runs.length ? "" : `${view.runs.length.toLocaleString("en-US")} of `;
  const groups = view.groups ? `${counted(view.groups.length, "group")}, ` : "";
  $("#count").textContent = `${groups}${some}${counted(runs.length, "run")}`;
  $("#problem").textContent = view.error;
  $("#problem").hidden = !view.error;
  fill($("#filter"), { "aria-invalid": String(Boolean(view.error)) });
  if (document.activeElement !== $("#filter")) $("#filter").value = state.filter;
  fill($("#group"), { "aria-pressed": String(Boolean(state.group)) });
  for (const button of document.querySelectorAll("#controls button")) {
    fill(button, { "aria-pressed": String(state[button.dataset.key] === button.dataset.value) });
  }
  $("#smooth").value = state.smooth;
}

function drawColumnList({ target }) {
  const switched = list("columns");
  const items = allColumns().map(({ name, title, shown }) => {
    const change = () => set({ columns: toggled("columns", name) });
    return h("label", {}, h("input", { type: "checkbox", change, checked: shown !== switched.includes(name) }), plain(cut(title, 40)));
  });
  if (target.open) $("#columns .list").replaceChildren(...items);
}

/** Draw the strip at the bottom: the runs that are ticked. */
function drawTray() {
  const ticked = tickedRuns();
  const chips = ticked.slice(0, MOST).map((run) => {
    const click = () => set({ ticked: toggled("ticked", run.id) });
    return h("button", { click, title: "Take it away" }, swatch(view.chosen.get(run)), idText(run));
  });
  $("#tray").hidden = !ticked.length;
  $("#tray .chips").replaceChildren(...chips);
  const aboutTwo = ticked.length === 2 && meta.code ? aboutCode(changedFiles(...ticked)) : "";
  $("#tray .what").textContent = ticked.length < MOST ? aboutTwo : "Ten curves at most are in colour.";
  $("#compare").disabled = ticked.length < 2;
}

function compareTicked() {
  if (tickedRuns().length > 1) set({ compare: "1", open: "" });
  else toast("Choose two runs first, with space or a click on their boxes.");
}

const switchGroup = () => set({ group: state.group ? "" : joined(seedNames()) || "seed", sort: "" });
const showHelp = () => $("#help").showModal();

// Keys

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "checkbox";
  const keys = { "/": focusFilter, d: compareTicked, g: switchGroup, t: switchTheme, z: resetZoom, c: copyCurrent, "?": showHelp };
  if (target === document.body || target.closest("#runs thead")) keys.ArrowDown = keys.j = () => moveCursor(cursor);
  if (key === "Escape") {
    leave(target, isTyping);
  } else if (!isTyping && Object.hasOwn(keys, key)) {
    event.preventDefault();
    keys[key]();
  }
}

function focusFilter() {
  $("#filter").focus();
  $("#filter").select();
}

function leave(target, isTyping) {
  if (isTyping) {
    target.blur();
    focusCursor();
  } else if (state.open || state.compare) set({ open: "", compare: "" });
  else if (state.ticked) set({ ticked: "" });
}

function copyCurrent() {
  const isInTable = document.activeElement.tagName === "TR" && !view.groups;
  const run = byId.get(state.open) ?? (isInTable ? view.runs[cursor] : view.best);
  if (run) copyText(command(run));
}
