// The page: its parts, its keys, its theme.

const KEYS = [
  ["/", "filter"], ["↑ ↓ or j k", "move in the table"], ["space", "choose the run, which draws its curve in colour"],
  ["enter", "all about the run"], ["d", "what differs between the chosen runs, code included"], ["g", "group by all but the seed"],
  ["c", "copy the command that gets the run back"], ["t", "light or dark"], ["← →", "move along a chart that has the focus"],
  ["double click, or z", "show all of the x axis again"], ["esc", "close, or choose nothing"], ["?", "this help"],
];

async function start() {
  await load();
  Object.assign(state, readHash());
  document.title = `${plain(meta.title ?? "Report")} · Keepsake`;
  build();
  applyTheme();
  window.addEventListener("hashchange", () => set(readHash()));
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  watch("filter sort group", () => {
    recompute();
    drawHead();
    drawTable();
    drawCharts();
    drawTools();
  });
  watch("ticked", () => {
    drawTray();
    drawRows(true);
    drawCharts();
    drawTools();
    if (state.compare) drawPanel();
  });
  watch("columns", drawTable);
  watch("x", () => (zoom = null));
  watch("x logx logy smooth", () => {
    drawControls();
    drawCharts();
  });
  watch("open compare", () => {
    drawPanel();
    drawRows(true);
  });
  watch("scatter", drawScatter);
  watch("theme", applyTheme);
  drawTray();
  drawPanel();
  document.body.dataset.ready = "1";
}

const drawTools = () => {
  drawImportance(document.getElementById("importance"));
  drawScatter();
  drawParallel();
};

function redrawAll() {
  colors.clear();
  drawHead();
  drawTable();
  drawCharts();
  drawTools();
  drawTray();
  drawPanel();
}

function applyTheme() {
  document.documentElement.dataset.theme = state.theme;
  if (charts.length) redrawAll();
}

function isDark() {
  return state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function build() {
  recompute();
  const page = document.getElementById("page");
  const part = (id, tag = "section", kind = "card") => h(tag, { id, class: kind });
  const [large, small] = [h("div", { class: "main-chart" }), h("div", { class: "charts" })];
  page.replaceChildren(
    part("head", "header", ""), part("answer", "section", ""),
    h("div", { class: "controls", id: "controls" }),
    h("div", { class: "top" }, large, part("importance")),
    h("section", { class: "card wide" }, part("tools", "div", "tools"), part("table", "div", "")),
    small,
    h("div", { class: "pair" }, part("scatter"), part("parallel")), part("foot", "footer", ""),
  );
  document.body.append(
    h("aside", { id: "panel", "aria-label": "Details", hidden: true }), h("div", { id: "tray", hidden: true }),
    h("div", { id: "toast", role: "status" }), helpDialog(),
  );
  buildTools();
  buildTable(document.getElementById("table"));
  buildCharts(large, small);
  if (!charts.length) large.replaceChildren(h("section", { class: "card large empty faint" }, "These runs have no metrics yet."));
  buildScatter(document.getElementById("scatter"));
  buildParallel(document.getElementById("parallel"));
  buildFoot();
  drawHead();
  drawControls();
  drawTable();
  drawCharts();
  drawImportance(document.getElementById("importance"));
}

// The head

function drawHead() {
  const about = [
    counted(runs.length, "run"), meta.repository && plain(meta.repository), `made ${when(meta.made)}`,
  ].filter(Boolean).join(" · ");
  const theme = h("button", { id: "theme", class: "quiet", click: switchTheme, title: "Light or dark (t)", "aria-label": "Light or dark" }, "◐");
  const help = h("button", { class: "quiet", click: () => document.getElementById("help").showModal(), title: "Keys (?)", "aria-label": "Keys" }, "?");
  document.getElementById("head").replaceChildren(
    h("div", {}, h("h1", {}, plain(meta.title ?? "Report")), h("p", { class: "faint" }, about)), h("div", { class: "tools" }, theme, help),
  );
  document.getElementById("answer").replaceChildren(...answer().filter(Boolean));
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

/** Say which run is best, what the others are doing, and what is the same in all. */
function answer() {
  const { best } = view;
  const constant = namesOf("params").filter(isConstant);
  const same = constant.length > 0 && runs.length > 1 && h("p", { class: "same faint" }, "The same in all: ", ...constant.slice(0, 40).flatMap((name, place) => [place ? ", " : "", `${plain(name)} `, h("b", {}, cut(valueText(runs[0].params[name]), 40))]));
  const counts = ["running", "failed", "lost", "stopped"].map((status) => [status, runs.filter((run) => run.status === status).length]).filter(([, count]) => count);
  const chips = h("p", { class: "chips" }, counts.map(([status, count]) => {
    const text = `status = ${status}`;
    const isOn = state.filter === text;
    const title = runs.filter((run) => run.status === status && (run.error || run.reason)).slice(0, 5).map((run) => `${plain(run.short)}: ${cut(plain(run.error ?? run.reason), 100)}`).join("\n");
    return h("button", { class: `status ${status}`, "aria-pressed": String(isOn), click: () => set({ filter: isOn ? "" : text }), title }, `${count.toLocaleString("en-US")} ${status}`);
  }));
  if (view.groups) return [groupAnswer(), chips, same];
  if (!best) {
    const why = meta.primary ? "No run has a value of the primary metric." : "No primary metric was declared, so no run is best.";
    return [h("p", { class: "best-line faint" }, runs.length ? why : "There are no runs."), chips, same];
  }
  const goal = meta.primary.goal === "maximize" ? "highest" : "lowest";
  const differs = labelOf(best, 6);
  return [
    h("div", { class: "best-line" },
      h("p", { class: "value" }, h("span", { class: "faint" }, `${goal} ${plain(meta.primary.name)}`), h("strong", {}, valueText(best.metrics[meta.primary.name]))),
      h("p", { class: "by" }, h("button", { class: "link id", click: () => set({ open: best.id, compare: "" }) }, plain(best.short)),
        best.best && ` at step ${best.best.step}${best.latest && best.latest.step > best.best.step ? ` of ${best.latest.step}` : ""}`,
        differs && h("span", { class: "faint" }, ` with ${differs}`)),
      h("div", { class: "command" }, h("code", {}, plain(command(best))), h("button", { id: "copy-best", click: () => copyText(command(best)) }, "Copy"))),
    chips, same,
  ];
}

/** Say whether the best group is better than the next one for every seed. */
function groupAnswer() {
  const name = meta.primary?.name;
  const found = view.groups.filter((group) => group.metrics[name]);
  if (!found.length) return h("p", { class: "best-line faint" }, "No group has a value of the primary metric.");
  const sign = meta.primary.goal === "maximize" ? -1 : 1;
  const [first, second] = [...found].sort((one, other) => sign * (one.metrics[name].mean - other.metrics[name].mean));
  const text = ({ metrics: { [name]: { mean, min, max, n } } }) => `${short(mean, 4)}${n > 1 ? `, from ${short(min, 4)} to ${short(max, 4)}` : ""}`;
  const [one, other] = [first, second].map((group) => group?.metrics[name]);
  const overlap = second && Math.max(one.min, other.min) <= Math.min(one.max, other.max);
  const verdict = !second ? "" : one.n < 2 && other.n < 2 ? "Each ran once only, so chance cannot be told apart." : overlap ? "The ranges overlap, so it may be chance." : "The ranges do not overlap.";
  return h("div", { class: "best-line" },
    h("p", { class: "value" }, h("span", { class: "faint" }, `mean ${plain(name)}`), h("strong", {}, short(one.mean, 4))),
    h("p", { class: "by" }, `${groupLabel(first)}: ${text(first)}. `, second && `Next, ${groupLabel(second)}: ${text(second)}. `, h("b", {}, verdict)));
}

function switchTheme() {
  set({ theme: isDark() ? "light" : "dark" });
}

// Tools

function buildTools() {
  const filter = h("input", {
    id: "filter", type: "search", placeholder: example(), spellcheck: "false", autocomplete: "off", "aria-label": "Filter", "aria-describedby": "problem",
    input: (event) => {
      clearTimeout(buildTools.timer);
      buildTools.timer = setTimeout(() => set({ filter: event.target.value }), 120);
    },
  });
  const seeds = seedNames();
  const group = h("button", { id: "group", "aria-pressed": "false", click: switchGroup, title: "Mean and range of runs that differ in nothing else (g)" }, `Group by all but ${seeds.length ? plain(cut(seeds.join(", "), 20)) : "the seed"}`);
  const columns = h("details", { id: "columns", class: "menu" }, h("summary", {}, "Columns"), h("div", { class: "list" }));
  columns.addEventListener("toggle", () => columns.open && drawColumnList());
  const csv = h("button", { id: "csv", click: exportCsv, title: "What the table shows, as a file" }, "CSV");
  document.getElementById("tools").replaceChildren(filter, h("span", { id: "count", class: "faint", role: "status" }), h("span", { class: "gap" }), group, columns, csv, h("p", { id: "problem", role: "alert", hidden: true }));
}

function example() {
  const metric = meta.primary?.name ?? "val_loss";
  const param = namesOf("params").find((name) => !isConstant(name));
  const value = param && runs[0].params[param];
  return `Filter: ${metric} < ${short(runs[0]?.metrics[metric] ?? 0.2, 2)}${param ? ` and ${conditionText(param, "=", isMissing(value) ? 1 : value)}` : ""}`.slice(0, 80);
}

function switchGroup() {
  const names = seedNames();
  set({ group: state.group ? "" : names.length ? joined(names) : "seed", sort: "" });
}

function drawColumnList() {
  const switched = list("columns");
  const box = document.querySelector("#columns .list");
  box.replaceChildren(...columnsOnce("").map((column) => {
    const input = h("input", { type: "checkbox", change: () => set({ columns: toggled("columns", column.name) }) });
    input.checked = Boolean(column.shown) !== switched.includes(column.name);
    return h("label", {}, input, plain(cut(column.title, 40)));
  }));
}

function drawControls() {
  const choice = (name, text) => h("button", { "aria-pressed": String(state.x === name), click: () => set({ x: name }) }, text);
  const check = (key, text) => h("button", { "aria-pressed": String(Boolean(state[key])), click: () => set({ [key]: state[key] ? "" : "1" }) }, text);
  const box = document.getElementById("controls");
  if (box.contains(document.activeElement) && document.activeElement.type === "range") return;
  const slider = h("input", { type: "range", min: 0, max: 0.98, step: 0.02, "aria-label": "Smoothing", input: (event) => set({ smooth: event.target.value }) });
  slider.value = state.smooth;
  box.replaceChildren(
    h("span", { class: "buttons", role: "group", "aria-label": "Across" }, choice("step", "Step"), choice("relative", "Duration"), choice("time", "Time")),
    h("span", { class: "buttons", role: "group", "aria-label": "Scales" }, check("logx", "log x"), check("logy", "log y")),
    h("label", { class: "faint" }, "Smoothing", slider),
    h("span", { class: "faint gap" }, "Drag in a chart to zoom"),
  );
}

/** The strip at the bottom: the runs that are ticked. */
function drawTray() {
  const tray = document.getElementById("tray");
  const ticked = list("ticked").map((id) => byId.get(id)).filter(Boolean);
  tray.hidden = !ticked.length;
  const chips = ticked.slice(0, MOST).map((run) => {
    const swatch = h("i", { class: "swatch" });
    swatch.style.background = chosen().find((each) => each.run === run)?.color ?? color("curve-other");
    return h("button", { class: "chip", click: () => set({ ticked: toggled("ticked", run.id) }), title: "Take it away" }, swatch, h("span", { class: "id" }, plain(run.short)));
  });
  const changed = ticked.length === 2 && meta.code ? changedFiles(...ticked) : null;
  const code = changed && (changed.length ? `Code differs: ${changed.slice(0, 3).map(([name]) => plain(name)).join(", ")}${changed.length > 3 ? ` and ${changed.length - 3} more` : ""}` : "The code is the same");
  const most = ticked.length >= MOST ? "Ten curves at most are in colour." : "";
  tray.replaceChildren(
    ...chips, h("span", { class: "faint what" }, code ?? most), h("span", { class: "gap" }),
    h("button", { id: "compare", class: "strong", disabled: ticked.length < 2, click: compareTicked }, "Compare", h("kbd", {}, "d")),
    h("button", { class: "quiet", click: () => set({ ticked: "", compare: "" }), "aria-label": "Choose nothing" }, "✕"),
  );
}

function compareTicked() {
  if (list("ticked").length > 1) set({ compare: "1", open: "" });
  else toast("Choose two runs first, with space or a click on their boxes.");
}

// Foot and help

function buildFoot() {
  const licences = meta.licences.map(({ name, text }) => h("details", {}, h("summary", {}, name), h("pre", {}, text)));
  document.getElementById("foot").replaceChildren(
    meta.notes.length ? h("ul", { id: "notes" }, meta.notes.map((note) => h("li", {}, plain(note)))) : "",
    h("p", { class: "faint" }, "Made by Keepsake. This file holds everything that it shows, and loads nothing. In it:"), ...licences,
  );
}

function helpDialog() {
  const rows = KEYS.map(([keys, text]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, keys)), h("td", {}, text)));
  const names = "A filter compares params, metrics of the best checkpoint, and status, created, duration, user, host, command, tags and the like: val_loss < 0.2 and (optimizer = adam or lr in (0.1, 0.01)) and not status = failed and created > 2 days ago";
  return h("dialog", { id: "help", "aria-label": "Help", click: (event) => event.target.id === "help" && event.target.close() },
    h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("table", { class: "plain" }, h("tbody", {}, rows)), h("h3", {}, "Filter"), h("p", {}, names), h("button", {}, "Close")));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (event.key === "Escape") return leave(event.target, isTyping);
  if (isTyping) return undefined;
  const keys = { "/": focusFilter, d: compareTicked, g: switchGroup, t: switchTheme, z: resetZoom, c: copyCurrent, "?": () => document.getElementById("help").showModal() };
  const act = keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  } else if (["ArrowDown", "j"].includes(event.key) && event.target === document.body) {
    event.preventDefault();
    moveCursor(cursor);
  }
  return undefined;
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
  const run = byId.get(state.open) ?? (document.activeElement.tagName === "TR" ? view.runs[cursor] : view.best);
  if (run) copyText(command(run));
}
