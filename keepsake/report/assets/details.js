// The panel at the side: all about one run, or what differs between those that are ticked.

function drawPanel() {
  const panel = $("#panel");
  const compared = state.compare ? tickedRuns() : [];
  const opened = byId.get(state.open);
  panel.hidden = compared.length < 2 && !opened;
  document.body.classList.toggle("with-panel", !panel.hidden);
  panel.replaceChildren();
  panel.scrollTop = 0;
  if (!panel.hidden) fill(panel, {}, compared.length > 1 ? runComparison(compared) : details(opened));
}

function panelHead(...title) {
  const close = h("button", { class: "quiet close", "aria-label": "Close", click: () => set({ open: "", compare: "" }) }, "✕");
  return h("header", {}, h("h2", { tabindex: -1 }, title), close);
}

const command = (run) => `keepsake checkout ${plain(run.short)}`;

/** Return the command that gets a run back, with a button that copies it. */
function commandBox(run) {
  return h("div", { class: "command" }, h("code", {}, command(run)), h("button", { class: "copy-command", click: () => copyText(command(run)) }, "Copy"));
}

/** Return a table with a title; a row is a name and its values, or elements. Without rows, there is none. */
function plainTable(title, rows, heads) {
  const row = ([name, ...values]) => h("tr", {}, h("th", { scope: "row" }, plain(name)), values.map((value) => h("td", {}, exact(value))));
  const head = heads && h("thead", {}, h("tr", {}, h("th"), heads));
  const body = h("tbody", {}, rows.map((each) => (Array.isArray(each) ? row(each) : each)));
  return rows.length > 0 && [title && h("h3", {}, title), h("table", { class: "plain" }, head, body)];
}

const exact = (value) => (typeof value === "number" && Number.isFinite(value) ? String(value) : valueText(value));

/** Return all names in some dicts. */
const namesIn = (dicts) => [...new Set(dicts.flatMap((dict) => Object.keys(dict)))];

function details(run) {
  const { best, latest } = run;
  const packages = Object.entries(meta.packages[run.packages] ?? {});
  const code = h("div", { class: "code" });
  if (meta.code) showFiles(code, run);
  return [
    panelHead(idText(run), h("span", { class: `status ${run.status}` }, run.status), run === view.best && h("span", { class: "star" }, "★ best")),
    commandBox(run),
    plainTable("", Object.entries({ ...factsOf(run), ...ownFacts(run) }).filter(([, text]) => text)),
    run.traceback && h("details", {}, h("summary", {}, "Traceback"), h("pre", {}, lines(run.traceback))),
    plainTable("Params", Object.entries(run.params)),
    metricTable([["Best", best], ["Latest", latest?.short !== best?.short && latest]].filter(([, checkpoint]) => checkpoint)),
    plainTable("Began on", Object.entries(run.environment)),
    meta.code && [h("h3", {}, "Code"), code],
    packages.length > 0 && h("details", {}, h("summary", {}, counted(packages.length, "Python package")), plainTable("", packages)),
  ];
}

/** Return what may differ between runs besides params, metrics and packages: name → text. */
function factsOf(run) {
  return {
    Name: run.name,
    Ended: run.end_reason,
    Error: run.error,
    Notes: run.notes,
    Tags: (run.tags ?? []).join(", "),
    User: run.user,
    Host: run.host,
    Command: run.command,
    Path: run.path,
    Python: run.python_version,
    Keepsake: run.version,
    Parent: run.parent,
  };
}

/** Return what is always another in each run: name → text. */
function ownFacts(run) {
  const at = (checkpoint) => checkpoint && `${checkpoint.short} at step ${checkpoint.step}, after ${duration(checkpoint.time)}`;
  return {
    Started: when(run.created, true),
    Took: duration(run.duration),
    Checkpoints: String(run.checkpoints),
    Best: at(run.best),
    Latest: at(run.latest),
    ID: run.id,
  };
}

/** Return the metrics of checkpoints, each with a title. */
function metricTable(checkpoints) {
  const rows = namesIn(checkpoints.map(([, { metrics }]) => metrics)).map((name) => [name, ...checkpoints.map(([, { metrics }]) => metrics[name])]);
  return plainTable("Metrics", rows, checkpoints.map(([title, { step }]) => h("th", {}, `${title}, step ${step}`)));
}

/** Return what differs between runs: params, metrics, packages and other facts, then the code of two of them. */
function runComparison(some) {
  const kinds = {
    Params: (run) => run.params,
    Metrics: (run) => run.metrics,
    "Began on": (run) => run.environment,
    Run: (run) => ({ Status: run.status, ...factsOf(run) }),
    Packages: (run) => meta.packages[run.packages] ?? {},
  };
  const rows = Object.entries(kinds).flatMap(([kind, find]) => {
    const found = some.map(find);
    const text = kind === "Metrics" ? valueText : exact;
    const differing = namesIn(found).filter((name) => new Set(found.map((values) => valueText(values[name]))).size > 1);
    const title = h("tr", { class: "title" }, h("th", { colspan: some.length + 1, scope: "rowgroup" }, kind));
    return differing.length ? [title, ...differing.map((name) => [name, ...found.map((values) => text(values[name]))])] : [];
  });
  const heads = some.map((run) => h("th", { scope: "col" }, swatch(view.chosen.get(run)), idText(run)));
  const code = h("div", { class: "code" });
  if (meta.code) showDiff(code, some[0], some[1]);
  return [
    panelHead(`What differs between ${some.length} runs`),
    h("div", { class: "compare" }, plainTable("", rows, heads) || h("p", { class: "faint" }, "Params, metrics and packages are the same.")),
    meta.code && [h("h3", {}, `Code, from ${plain(some[0].short)} to ${plain(some[1].short)}`), code],
  ];
}
