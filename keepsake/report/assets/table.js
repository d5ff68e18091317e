// What is visible, and the table of it. Only the rows in sight are in the document, so thousands are no burden.

const ROW = 36; // pixels, as in style.css
const MOST_COLUMNS = 32; // that are shown before a person chooses
const view = { runs: [], groups: null, best: null, test: () => true, error: "" };
let cursor = 0; // the row that the keyboard is on

/** Find what is visible: the runs that match, sorted, or groups of them. */
function recompute() {
  view.error = "";
  try {
    view.test = parseFilter(state.filter);
  } catch (error) {
    view.error = error.message; // the last filter that could be read goes on
  }
  const matching = runs.filter(view.test);
  view.best = bestOf(matching);
  view.groups = null;
  try {
    if (state.group) view.groups = sorted(groupsByParams(matching), sortKeys().map(([name, down]) => [groupGetter(name), down]));
    view.runs = sorted(matching, sortKeys().map(([name, down]) => [getter(name), down]));
  } catch (error) {
    view.error ||= error.message;
    view.runs = matching;
    view.groups &&= groupsByParams(matching);
  }
  const last = (view.groups ?? view.runs).length - 1;
  cursor = Math.max(0, Math.min(cursor, last));
}

// Groups

const SEED = /^((.*[._-])?(seed|rng|random_?state)([_-](everything|value|num|id))?|.*[a-z]seed)$/i; // as in compare/groups.py

/** Return the params that tell repeats of the same thing apart. */
const seedNames = () => namesOf("params").filter((name) => SEED.test(name));

/** Return groups of runs whose params are the same, but for those that do not count. */
function groupsByParams(some) {
  const ignored = list("group");
  const names = namesOf("params").filter((name) => !ignored.includes(name) && !isConstant(name));
  const found = new Map();
  for (const run of some) {
    const key = JSON.stringify(names.map((name) => valueText(run.params[name])));
    if (!found.has(key)) found.set(key, { id: key, runs: [], params: Object.fromEntries(names.map((name) => [name, run.params[name]])) });
    found.get(key).runs.push(run);
  }
  for (const group of found.values()) {
    group.metrics = {};
    for (const name of namesOf("metrics")) group.metrics[name] = summary(group.runs.map((run) => run.metrics[name]));
  }
  return [...found.values()];
}

function summary(values) {
  const known = values.filter((value) => typeof value === "number" && !Number.isNaN(value));
  if (!known.length) return undefined;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  return { mean, min: Math.min(...known), max: Math.max(...known), n: known.length };
}

function groupGetter(name) {
  const bare = name.replace(/^(params\.|metrics\.)/, "");
  return (group) => (name === "n" ? group.runs.length : group.metrics[bare]?.mean ?? group.params[bare]);
}

// Columns

/** Return all columns: {name, title, find, text, kind}. Those that differ are shown unless they were switched off. */
function allColumns() {
  const differs = (find) => new Set(runs.map((run) => valueText(find(run)))).size > 1;
  const fixed = [
    { name: "name", title: "Name", find: FIELDS.name[1], shown: runs.some((run) => run.name) },
    { name: "status", title: "Status", find: FIELDS.status[1], shown: true, cell: statusCell },
    { name: "created", title: "Started", find: FIELDS.created[1], text: (value) => when(value), shown: true },
    { name: "duration", title: "Took", find: FIELDS.duration[1], text: duration, shown: true, kind: "number" },
    { name: "user", title: "User", find: FIELDS.user[1], shown: differs(FIELDS.user[1]) },
    { name: "host", title: "Host", find: FIELDS.host[1], shown: differs(FIELDS.host[1]) },
    { name: "command", title: "Command", find: FIELDS.command[1], shown: false },
    { name: "tags", title: "Tags", find: FIELDS.tags[1], text: (tags) => plain((tags ?? []).join(", ")), shown: runs.some((run) => run.tags?.length) },
  ];
  const params = namesOf("params").map((name) => ({
    name: `params.${name}`, title: name, find: (run) => run.params[name], shown: !isConstant(name), group: "params",
  }));
  const primary = meta.primary?.name;
  const metrics = namesOf("metrics").sort((one, other) => (other === primary) - (one === primary));
  const values = metrics.map((name) => ({
    name: `metrics.${name}`, title: name, find: (run) => run.metrics[name], shown: true, group: "metrics",
    kind: name === primary ? "primary" : "",
  }));
  const step = { name: "best step", title: "Best step", find: (run) => run.best?.step, shown: Boolean(primary), group: "metrics", sort: false };
  const last = metrics.map((name) => ({
    name: `last:${name}`, title: `last ${name}`, find: (run) => run.latest?.metrics[name], shown: false, group: "metrics",
  }));
  const columns = [...fixed.slice(0, 2), ...values.slice(0, 1), step, ...params, ...values.slice(1), ...fixed.slice(2), ...last];
  columns.filter((column) => column.shown).slice(MOST_COLUMNS).forEach((column) => (column.shown = false));
  for (const column of columns) {
    const found = runs.map(column.find).filter((value) => !isMissing(value));
    column.kind ||= found.length && found.every((value) => typeof value === "number") && column.name !== "created" ? "number" : "";
    column.text ??= column.kind && column.group === "metrics" ? aligned(found) : (value) => cut(valueText(value), 40);
  }
  return columns;
}

const columnsOnce = remembered(() => allColumns());

function shownColumns() {
  const switched = list("columns");
  const shown = columnsOnce("").filter((column) => column.shown !== switched.includes(column.name));
  if (!view.groups) return shown;
  const ignored = list("group").map((name) => `params.${name}`);
  return shown.filter((column) => column.group && column.name !== "best step" && !column.name.startsWith("last:") && !ignored.includes(column.name));
}

function statusCell(run) {
  const reason = run.error ?? (["finished", "stopped", run.status].includes(run.reason) ? null : run.reason);
  const why = reason ?? (run.status === "lost" ? "its heartbeat ended" : "");
  return h("td", { class: `status ${run.status}`, title: plain(why) }, h("b", {}, run.status), why && h("span", { class: "faint" }, cut(plain(why), 26)));
}

// Drawing

function buildTable(box) {
  const body = h("tbody");
  const table = h("table", { id: "runs", role: "grid", "aria-label": "Runs", keydown: tableKey }, h("thead"), body);
  const scroller = h("div", { class: "scroller", scroll: () => requestAnimationFrame(drawRows) }, table);
  box.replaceChildren(scroller);
  new ResizeObserver(drawRows).observe(scroller);
}

function drawTable() {
  const table = document.getElementById("runs");
  const columns = shownColumns();
  const rows = view.groups ?? view.runs;
  table.setAttribute("aria-rowcount", rows.length + 1);
  const lead = view.groups ? [h("th", { scope: "col" }, "Runs")] : [
    h("th", { scope: "col", class: "tick" }, h("span", { class: "hidden" }, "Chosen")), h("th", { scope: "col" }, "Run"),
  ];
  const heads = columns.map((column) => headCell(column));
  table.tHead.replaceChildren(h("tr", { "aria-rowindex": 1 }, lead, heads, h("th", { scope: "col" }, h("span", { class: "hidden" }, "Get it back"))));
  table.classList.toggle("groups", Boolean(view.groups));
  drawRows(true);
}

function headCell(column) {
  const key = sortKeys().find(([name]) => name === column.name || `metrics.${name}` === column.name || `params.${name}` === column.name);
  const order = key ? (key[1] ? "descending" : "ascending") : "none";
  const dot = column.group === "params" ? column.title.lastIndexOf(".") + 1 : 0; // of a param in a dict
  const title = [dot > 0 && h("small", {}, cut(plain(column.title.slice(0, dot)), 24)), cut(plain(column.title.slice(dot)), 24)].filter(Boolean);
  const button = h("button", { click: (event) => sortBy(column, order, event.shiftKey), title: `Sort by ${plain(column.title)}` }, title,
    key && h("span", { "aria-hidden": "true" }, key[1] ? " ↓" : " ↑"));
  return h("th", { scope: "col", class: column.kind, "aria-sort": order, "data-name": column.name }, column.sort === false ? title : button);
}

function sortBy(column, order, further) {
  const first = column.name.startsWith("metrics.") && meta.primary && column.name === `metrics.${meta.primary.name}` && meta.primary.goal === "maximize";
  const descending = order === "none" ? first : order === "ascending";
  const key = column.name + (descending ? "-desc" : "");
  const others = further ? list("sort").filter((each) => each.replace(/-desc$/, "") !== column.name) : [];
  set({ sort: joined([...others, key]) });
}

let drawn = "";

/** Put the rows in sight into the document. */
function drawRows(always) {
  const table = document.getElementById("runs");
  const scroller = table.parentElement;
  const rows = view.groups ?? view.runs;
  const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - 6);
  const last = Math.min(rows.length, first + Math.ceil((scroller.clientHeight || 600) / ROW) + 12);
  if (always !== true && drawn === `${first} ${last}`) return;
  drawn = `${first} ${last}`;
  const hadFocus = table.tBodies[0].contains(document.activeElement) && document.activeElement.tagName === "TR";
  const columns = shownColumns();
  const filler = (height) => {
    const cell = h("td", { colspan: columns.length + 3 });
    cell.style.height = `${height}px`;
    return h("tr", { class: "filler", "aria-hidden": "true" }, cell);
  };
  const shown = rows.slice(first, last).map((row, place) => (view.groups ? groupRow : runRow)(row, first + place, columns));
  table.tBodies[0].replaceChildren(filler(first * ROW), ...shown, filler((rows.length - last) * ROW));
  if (!rows.length) table.tBodies[0].replaceChildren(h("tr", {}, h("td", { colspan: columns.length + 3, class: "faint" }, "No run matches.")));
  if (hadFocus) table.querySelector("tr[tabindex='0']")?.focus({ preventScroll: true });
}

function runRow(run, place, columns) {
  const ticked = list("ticked").includes(run.id);
  const name = plain(run.short);
  const box = h("input", { type: "checkbox", tabindex: -1, "aria-label": `Choose run ${name}`, change: () => set({ ticked: toggled("ticked", run.id) }) });
  box.checked = ticked;
  const swatch = h("i", { class: "swatch" });
  const drawnAs = chosen().find((each) => each.run === run);
  if (drawnAs) swatch.style.background = drawnAs.color;
  const star = run === view.best && h("span", { class: "star", title: "The best of these runs" }, "★");
  return h("tr", {
    class: `${run === view.best ? "best" : ""} ${state.open === run.id ? "open" : ""}`, "data-id": run.id, "aria-rowindex": place + 2,
    "aria-selected": String(ticked), tabindex: place === cursor ? 0 : -1, focus: () => (cursor = place),
    click: (event) => event.target.closest("input, button, label") || set({ open: state.open === run.id ? "" : run.id, compare: "" }),
  },
  h("td", { class: "tick" }, h("label", {}, box)), h("th", { scope: "row" }, swatch, name, star),
  columns.map((column) => column.cell?.(run) ?? h("td", { class: column.kind, title: cellTitle(column, run) }, column.text(column.find(run)))),
  h("td", { class: "get" }, checkoutButton(run)));
}

/** Return the full text of a cell that is shortened or rounded. */
function cellTitle(column, run) {
  const value = column.find(run);
  if (isMissing(value)) return null;
  return column.name === "created" ? when(value, true) : cut(typeof value === "number" ? String(value) : valueText(value), 600);
}

function groupRow(group, place, columns) {
  const cell = (column) => {
    const name = column.name.replace(/^(params|metrics)\./, "");
    if (column.group === "params") return h("td", { class: column.kind }, column.text(group.params[name]));
    const found = group.metrics[name];
    if (!found) return h("td", {});
    const range = found.n > 1 && h("span", { class: "range" }, `${column.text(found.min)} – ${column.text(found.max)}`);
    return h("td", { class: column.kind }, h("b", {}, column.text(found.mean)), range);
  };
  const only = () => set({ group: "", filter: groupFilter(group) });
  const swatch = h("i", { class: "swatch" });
  const drawnAs = chosenGroups().find((each) => each.group === group);
  if (drawnAs) swatch.style.background = drawnAs.color;
  return h("tr", { "aria-rowindex": place + 2, tabindex: place === cursor ? 0 : -1, focus: () => (cursor = place), click: only, title: "Show its runs" },
    h("th", { scope: "row" }, swatch, `n = ${group.runs.length}`), columns.map(cell), h("td"));
}

function groupFilter(group) {
  const parts = Object.entries(group.params).map(([name, value]) => conditionText(name, "=", value ?? null));
  return parts.join(" and ");
}

/** Arrows or j and k move; space ticks; enter opens. */
function tableKey(event) {
  if (event.target.tagName !== "TR") return;
  const rows = view.groups ?? view.runs;
  const page = Math.floor(event.currentTarget.parentElement.clientHeight / ROW) - 2;
  const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
  if (event.key in moves) {
    moveCursor(cursor + moves[event.key]);
  } else if (event.key === " " && !view.groups) {
    set({ ticked: toggled("ticked", rows[cursor].id) });
  } else if (event.key === "Enter") {
    event.target.click();
  } else {
    return;
  }
  event.preventDefault();
}

function moveCursor(to) {
  const rows = view.groups ?? view.runs;
  cursor = Math.max(0, Math.min(rows.length - 1, to));
  const table = document.getElementById("runs");
  const scroller = table.parentElement;
  const top = cursor * ROW;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  const room = scroller.clientHeight - table.tHead.offsetHeight - ROW;
  if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
  drawRows(true);
  table.querySelector("tr[tabindex='0']")?.focus({ preventScroll: true });
}
