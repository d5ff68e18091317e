// The table of what is visible. Only the rows in sight are in the document, so thousands are no burden.

const ROW = 36; // pixels, as in style.css
const MOST_COLUMNS = 32; // that are shown before a person chooses
const MOST_PRINTED = 300; // rows
const AROUND = 12; // rows that are drawn above and below those in sight
let cursor = 0; // the row that the keyboard is on
let drawn = [0, 0]; // the first row in the document, and the one after the last

const visible = () => view.groups ?? view.runs;

/** Return all columns: {name, title, find, text, kind}. Those that differ are shown unless they were switched off. */
const allColumns = remembered(() => {
  const primary = meta.primary?.name;
  const field = (name, title, shown, more) => {
    const texts = new Set(runs.map((run) => valueText(run[name] ?? undefined)));
    return { name, title, find: (run) => run[name], shown: shown ?? (texts.size > 1), ...more };
  };
  const value = (group, name, shown, kind) => ({ name: `${group}.${name}`, title: name, find: (run) => run[group][name], shown, group, kind });
  const metric = (name) => value("metrics", name, true, name === primary ? "primary" : null);
  const names = namesOf("metrics").toSorted((one, other) => (other === primary) - (one === primary));
  const columns = [
    ...names.slice(0, 1).map(metric),
    { name: "best step", title: "Best step", find: (run) => run.best?.step, shown: Boolean(primary), kind: "number", sort: false },
    field("name", "Name"),
    field("status", "Status", true),
    ...namesOf("params").map((name) => value("params", name, meta.params[name].differs)),
    ...names.slice(1).map(metric),
    field("tags", "Tags", null, { text: (tags) => plain((tags ?? []).join(", ")) }),
    field("created", "Started", true, { text: (value) => when(value), kind: "" }),
    field("duration", "Took", true, { text: duration }),
    field("user", "User"),
    field("host", "Host"),
    field("command", "Command", false),
    ...names.map((name) => ({ name: `last:${name}`, title: `last ${name}`, find: (run) => run.last[name], shown: false })),
  ];
  columns.filter((column) => column.shown).slice(MOST_COLUMNS).forEach((column) => (column.shown = false));
  for (const column of columns) {
    const found = runs.map(column.find).filter((value) => !isMissing(value));
    column.kind ??= found.length && found.every((value) => typeof value === "number") ? "number" : "";
    const isMetric = /^(metrics\.|last:)/.test(column.name);
    column.text ??= column.kind && isMetric ? aligned(found) : (value) => cut(valueText(column.group ? value : value ?? undefined), 40);
  }
  return columns;
});

function shownColumns() {
  const switched = list("columns");
  const shown = allColumns().filter((column) => column.shown !== switched.includes(column.name));
  if (!view.groups) return shown;
  const ignored = list("group").map((name) => `params.${name}`);
  return shown.filter((column) => column.group && !ignored.includes(column.name));
}

function drawHeadings() {
  const table = $("#runs");
  table.setAttribute("aria-rowcount", visible().length + 1);
  table.classList.toggle("groups", Boolean(view.groups));
  const head = (text, kind) => h("th", { scope: "col", class: kind }, text);
  const hidden = (text) => h("span", { class: "hidden" }, text);
  const lead = view.groups ? [head("Runs", "run")] : [head(hidden("Chosen"), "tick"), head("Run", "run")];
  table.tHead.replaceChildren(h("tr", { "aria-rowindex": 1 }, lead, shownColumns().map(headCell), head(hidden("Get it back"), "get")));
}

function headCell(column) {
  const key = sortKeys().find(([name]) => [name, `metrics.${name}`, `params.${name}`].includes(column.name));
  const order = key ? (key[1] ? "descending" : "ascending") : "none";
  const dot = column.group === "params" ? column.title.lastIndexOf(".") + 1 : 0; // of a param in a dict
  const title = [dot > 0 && h("small", {}, cut(plain(column.title.slice(0, dot)), 24)), cut(plain(column.title.slice(dot)), 24)];
  const sign = key && h("span", { "aria-hidden": "true" }, key[1] ? " ↓" : " ↑");
  const button = h("button", { click: (event) => sortBy(column, order, event.shiftKey), title: `Sort by ${plain(cut(column.title, 200))}` }, title, sign);
  return h("th", { scope: "col", class: column.kind, "aria-sort": order, "data-name": column.name }, column.sort === false ? title : button);
}

/** Sort by a column, or the other way round; `further` keeps the keys that there are before it. */
function sortBy(column, order, further) {
  const isHighFirst = column.kind === "primary" && meta.primary.goal === "maximize";
  const descending = order === "none" ? isHighFirst : order === "ascending";
  const others = further ? list("sort").filter((each) => each.replace(/-desc$/, "") !== column.name) : [];
  set({ sort: joined([...others, column.name + (descending ? "-desc" : "")]) });
  $(`#runs th[data-name="${CSS.escape(column.name)}"] button`).focus(); // the heading was made anew
}

/** Put the rows in sight into the document; `always`: even if they are there. */
function drawRows(always = true) {
  const [body, scroller] = [$("#runs tbody"), $(".scroller")];
  const [rows, columns, top] = [visible(), shownColumns(), Math.floor(scroller.scrollTop / ROW)];
  const bottom = Math.min(rows.length, top + Math.ceil((scroller.clientHeight || 600) / ROW));
  if (!always && drawn[0] <= top && bottom <= drawn[1]) return;
  const [first, last] = view.printed ? [0, MOST_PRINTED] : [Math.max(0, top - AROUND), bottom + AROUND];
  const shown = rows.slice(first, last);
  drawn = [first, first + shown.length];
  const hadFocus = body.contains(document.activeElement);
  const make = view.groups ? groupRow : runRow;
  const filler = (count) => {
    const cell = h("td", { colspan: columns.length + 3 });
    cell.style.height = `${count * ROW}px`;
    return h("tr", { class: "filler", "aria-hidden": "true" }, cell);
  };
  const none = rows.length ? [] : [h("tr", {}, h("td", { colspan: columns.length + 3, class: "faint" }, "No run matches."))];
  const below = filler(view.printed ? 0 : rows.length - drawn[1]);
  body.replaceChildren(filler(first), ...shown.map((row, at) => make(row, first + at, columns)), ...none, below);
  if (hadFocus) focusCursor();
}

const focusCursor = () => $("#runs tr[tabindex='0']")?.focus({ preventScroll: true });

function runRow(run, place, columns) {
  const [name, isBest, isTicked] = [plain(run.short), run === view.best, list("ticked").includes(run.id)];
  const box = h("input", { type: "checkbox", tabindex: -1, "aria-label": `Choose run ${name}`, checked: isTicked });
  const copy = { class: "quiet copy", tabindex: -1, title: `Copy: ${command(run)}`, "aria-label": `Copy ${command(run)}` };
  const cell = (column) => (column.name === "status" ? statusCell(run) : h("td", { class: column.kind, title: cellTitle(column, run) }, column.text(column.find(run))));
  return h("tr", {
    "data-id": run.id, "aria-rowindex": place + 2, tabindex: place === cursor ? 0 : -1, "aria-selected": String(isTicked),
    class: `${isBest ? "best" : ""} ${state.open === run.id ? "open" : ""}`,
  },
    h("td", { class: "tick" }, h("label", {}, box)),
    h("th", { scope: "row", class: "run" }, swatch(view.chosen.get(run)), name, isBest && h("span", { class: "star", title: "The best of these runs" }, "★")),
    columns.map(cell), h("td", { class: "get" }, h("button", copy, "copy")));
}

function statusCell(run) {
  const reason = run.error ?? (["finished", "stopped", run.status].includes(run.end_reason) ? null : run.end_reason);
  const why = reason ?? (run.status === "lost" ? "its heartbeat ended" : "");
  return h("td", { class: `status ${run.status}`, title: plain(why) }, h("b", {}, run.status), why && faint(cut(plain(why), 26)));
}

/** Return the full text of a cell that is shortened or rounded. */
function cellTitle(column, run) {
  const value = column.find(run);
  if (isMissing(value)) return null;
  return column.name === "created" ? when(value, true) : cut(typeof value === "number" ? String(value) : valueText(value), 600);
}

function groupRow(group, place, columns) {
  const cell = (column) => {
    const isMetric = column.group === "metrics";
    const { n, min, max } = (isMetric && group.ranges[bareName(column.name)]) || {};
    const range = n > 1 && h("span", { class: "range" }, `${column.text(min)} – ${column.text(max)}`);
    return h("td", { class: column.kind }, h(isMetric ? "b" : "span", {}, column.text(column.find(group))), range);
  };
  return h("tr", { "aria-rowindex": place + 2, tabindex: place === cursor ? 0 : -1, title: "Show its runs" },
    h("th", { scope: "row", class: "run" }, swatch(view.chosen.get(group)), `n = ${group.runs.length}`), columns.map(cell), h("td"));
}

// Choosing

const placeOf = (element) => Number(element.closest("tr[tabindex]")?.getAttribute("aria-rowindex") ?? 1) - 2;

function followFocus(event) {
  if (event.target.closest("tbody")) cursor = placeOf(event.target);
}

/** A click on a box ticks the run, one elsewhere opens it; one on a group shows its runs. */
function clickRow(event) {
  const of = visible()[placeOf(event.target)];
  if (!of) return;
  if (view.groups) set({ group: "", filter: groupFilter(of) });
  else if (event.target.matches(".copy")) copyText(command(of));
  else if (event.target.matches("input")) set({ ticked: toggled("ticked", of.id) });
  else if (!event.target.closest("label")) set({ open: state.open === of.id ? "" : of.id, compare: "" });
}

/** Arrows or j and k move; space ticks; enter opens. */
function tableKey(event) {
  if (event.target.tagName !== "TR") return;
  const rows = visible();
  const page = Math.floor(event.currentTarget.parentElement.clientHeight / ROW) - 2;
  const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
  if (event.key in moves) moveCursor(cursor + moves[event.key]);
  else if (event.key === " " && !view.groups) set({ ticked: toggled("ticked", rows[cursor].id) });
  else if (event.key === "Enter") event.target.click();
  else return;
  event.preventDefault();
}

function moveCursor(to) {
  cursor = Math.max(0, Math.min(visible().length - 1, to));
  const scroller = $(".scroller");
  const room = scroller.clientHeight - $("#runs thead").offsetHeight - ROW;
  scroller.scrollTop = Math.max(cursor * ROW - room, Math.min(cursor * ROW, scroller.scrollTop));
  drawRows();
  focusCursor();
}
