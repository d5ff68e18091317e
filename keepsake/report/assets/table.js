// The table of what is visible. Only the rows in sight are in the document, so thousands are no burden.

const ROW = 36; // pixels, as in style.css
const MOST_COLUMNS = 32; // that are shown before a person chooses
const MOST_PRINTED = 300; // rows
let cursor = 0; // the row that the keyboard is on
const drawn = new Map(); // place → the row in the document

const visible = () => view.groups ?? view.runs;

/** Return all columns: {name, title, find, text, kind}. Those that differ are shown unless they were switched off. */
const allColumns = remembered(() => {
  const primary = meta.primary?.name;
  const field = (name, title, shown, more) => {
    const find = FIELDS[name][1];
    const texts = new Set(runs.map((run) => valueText(find(run) ?? undefined)));
    return { name, title, find, shown: shown ?? (texts.size > 1), ...more };
  };
  const metric = (name) => ({ name: `metrics.${name}`, title: name, find: (run) => run.metrics[name], shown: true, group: "metrics", kind: name === primary ? "primary" : null });
  const names = namesOf("metrics").toSorted((one, other) => (other === primary) - (one === primary));
  const columns = [
    field("name", "Name"),
    field("status", "Status", true),
    ...names.slice(0, 1).map(metric),
    { name: "best step", title: "Best step", find: (run) => run.best?.step, shown: Boolean(primary), kind: "number", sort: false },
    ...namesOf("params").map((name) => ({ name: `params.${name}`, title: name, find: (run) => run.params[name], shown: !isConstant(name), group: "params" })),
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

function buildTable(box) {
  const table = h("table", { id: "runs", role: "grid", "aria-label": "Runs", keydown: tableKey, click: clickRow, focusin: followFocus }, h("thead"), h("tbody"));
  const scroller = h("div", { class: "scroller", scroll: () => requestAnimationFrame(() => drawRows(false)) }, table);
  box.replaceChildren(scroller);
  new ResizeObserver(() => drawRows(false)).observe(scroller);
}

function drawTable() {
  const table = document.getElementById("runs");
  table.setAttribute("aria-rowcount", visible().length + 1);
  table.classList.toggle("groups", Boolean(view.groups));
  const head = (text, kind) => h("th", { scope: "col", class: kind }, text);
  const hidden = (text) => h("span", { class: "hidden" }, text);
  const lead = view.groups ? [head("Runs", "run")] : [head(hidden("Chosen"), "tick"), head("Run", "run")];
  table.tHead.replaceChildren(h("tr", { "aria-rowindex": 1 }, lead, shownColumns().map(headCell), head(hidden("Get it back"))));
  drawRows();
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
}

/** Put the rows in sight into the document: all anew, or those that are missing. */
function drawRows(anew = true) {
  const table = document.getElementById("runs");
  const [body, scroller, rows, columns] = [table.tBodies[0], table.parentElement, visible(), shownColumns()];
  const first = view.printed ? 0 : Math.max(0, Math.floor(scroller.scrollTop / ROW) - 6);
  const last = Math.min(rows.length, view.printed ? MOST_PRINTED : first + Math.ceil((scroller.clientHeight || 600) / ROW) + 12);
  const hadFocus = document.activeElement.tagName === "TR" && body.contains(document.activeElement);
  if (anew || !drawn.size) {
    drawn.clear();
    body.replaceChildren(filler(columns), filler(columns));
    if (!rows.length) body.append(h("tr", {}, h("td", { colspan: columns.length + 3, class: "faint" }, "No run matches.")));
  }
  for (const [place, row] of drawn) {
    if (place >= first && place < last) continue;
    row.remove();
    drawn.delete(place);
  }
  const make = view.groups ? groupRow : runRow;
  for (let place = last - 1, next = body.children[drawn.size + 1]; place >= first; next = drawn.get(place--)) {
    if (!drawn.has(place)) drawn.set(place, body.insertBefore(make(rows[place], place, columns), next));
  }
  body.firstChild.firstChild.style.height = `${first * ROW}px`;
  body.children[drawn.size + 1].firstChild.style.height = view.printed ? "0" : `${(rows.length - last) * ROW}px`;
  if (hadFocus) table.querySelector("tr[tabindex='0']")?.focus({ preventScroll: true });
}

const filler = (columns) => h("tr", { class: "filler", "aria-hidden": "true" }, h("td", { colspan: columns.length + 3 }));

function runRow(run, place, columns) {
  const name = plain(run.short);
  const star = run === view.best && h("span", { class: "star", title: "The best of these runs" }, "★");
  const cell = (column) => (column.name === "status" ? statusCell(run) : h("td", { class: column.kind, title: cellTitle(column, run) }, column.text(column.find(run))));
  const row = h("tr", { "data-id": run.id, "aria-rowindex": place + 2, tabindex: place === cursor ? 0 : -1 },
    h("td", { class: "tick" }, h("label", {}, h("input", { type: "checkbox", tabindex: -1, "aria-label": `Choose run ${name}` }))),
    h("th", { scope: "row", class: "run" }, swatch(), name, star), columns.map(cell),
    h("td", { class: "get" }, h("button", { class: "quiet copy", tabindex: -1, title: `Copy: ${command(run)}`, "aria-label": `Copy ${command(run)}` }, "copy")));
  mark(row, run);
  return row;
}

/** Show whether a run is the best, open, ticked, and in colour. */
function mark(row, run) {
  const isTicked = list("ticked").includes(run.id);
  row.className = `${run === view.best ? "best" : ""} ${state.open === run.id ? "open" : ""}`;
  row.setAttribute("aria-selected", String(isTicked));
  row.querySelector("input").checked = isTicked;
  row.querySelector(".swatch").replaceWith(swatch(view.chosen.get(run)));
}

function markRows() {
  if (!view.groups) for (const [place, row] of drawn) mark(row, view.runs[place]);
}

function statusCell(run) {
  const reason = run.error ?? (["finished", "stopped", run.status].includes(run.reason) ? null : run.reason);
  const why = reason ?? (run.status === "lost" ? "its heartbeat ended" : "");
  return h("td", { class: `status ${run.status}`, title: plain(why) }, h("b", {}, run.status), why && h("span", { class: "faint" }, cut(plain(why), 26)));
}

/** Return the full text of a cell that is shortened or rounded. */
function cellTitle(column, run) {
  const value = column.find(run);
  if (isMissing(value)) return null;
  return column.name === "created" ? when(value, true) : cut(typeof value === "number" ? String(value) : valueText(value), 600);
}

function groupRow(group, place, columns) {
  const cell = (column) => {
    const name = bareName(column.name);
    if (column.group === "params") return h("td", { class: column.kind }, column.text(group.params[name]));
    const found = group.metrics[name];
    const range = found?.n > 1 && h("span", { class: "range" }, `${column.text(found.min)} – ${column.text(found.max)}`);
    return h("td", { class: column.kind }, found && h("b", {}, column.text(found.mean)), range);
  };
  return h("tr", { "aria-rowindex": place + 2, tabindex: place === cursor ? 0 : -1, title: "Show its runs" },
    h("th", { scope: "row", class: "run" }, swatch(view.chosen.get(group)), `n = ${group.runs.length}`), columns.map(cell), h("td"));
}

// Choosing

const placeOf = (element) => Number(element.closest("tr[tabindex]")?.getAttribute("aria-rowindex") ?? 1) - 2;

function followFocus(event) {
  if (event.target.tagName === "TR") cursor = placeOf(event.target);
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
  drawn.get(cursor)?.setAttribute("tabindex", -1);
  cursor = Math.max(0, Math.min(visible().length - 1, to));
  const table = document.getElementById("runs");
  const scroller = table.parentElement;
  const room = scroller.clientHeight - table.tHead.offsetHeight - ROW;
  scroller.scrollTop = Math.max(cursor * ROW - room, Math.min(cursor * ROW, scroller.scrollTop));
  drawRows(false);
  drawn.get(cursor)?.setAttribute("tabindex", 0);
  drawn.get(cursor)?.focus({ preventScroll: true });
}
