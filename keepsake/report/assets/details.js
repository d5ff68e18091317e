// The panel at the side: all about one run, or what differs between those that are ticked.

function drawPanel() {
  const panel = document.getElementById("panel");
  const compared = state.compare ? tickedRuns() : [];
  const opened = byId.get(state.open);
  const content = compared.length > 1 ? runComparison(compared) : opened ? details(opened) : [];
  panel.hidden = !content.length;
  document.body.classList.toggle("with-panel", !panel.hidden);
  panel.replaceChildren(...content);
  panel.scrollTop = 0;
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

function valueTable(title, values) {
  const rows = Object.entries(values).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, plain(name)), h("td", {}, exact(value))));
  return rows.length ? [title && h("h3", {}, title), h("table", { class: "plain" }, h("tbody", {}, rows))] : [];
}

const exact = (value) => (typeof value === "number" && Number.isFinite(value) ? String(value) : valueText(value));

function details(run) {
  const { best, latest } = run;
  const packages = meta.packages[run.packages] ?? {};
  const code = h("div", { class: "code" });
  if (meta.code) showFiles(code, run);
  const text = (value) => value && plain(value);
  const at = (checkpoint) => checkpoint && `${plain(checkpoint.short)} at step ${checkpoint.step}, after ${duration(checkpoint.time)}`;
  const facts = {
    Name: text(run.name),
    Status: h("span", { class: `status ${run.status}` }, h("b", {}, run.status), run.reason && ` ${plain(run.reason)}`),
    Error: text(run.error),
    Notes: run.notes && h("span", { class: "pre" }, lines(run.notes)),
    Tags: plain((run.tags ?? []).join(", ")),
    Started: when(run.created, true),
    Took: duration(run.duration),
    User: text(run.user),
    Host: text(run.host),
    Command: run.command && h("code", {}, plain(run.command)),
    Path: run.path && h("code", {}, plain(run.path)),
    Python: text(run.python_version),
    Keepsake: text(run.version),
    Parent: text(run.parent),
    Checkpoints: String(run.checkpoints),
    Best: at(best),
    Latest: at(latest),
    ID: h("code", { class: "pre" }, plain(run.id)),
  };
  const known = Object.entries(facts).filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
  return [
    panelHead(h("span", { class: "id" }, plain(run.short)), run === view.best && h("span", { class: "star" }, " ★ best")),
    commandBox(run),
    h("dl", { class: "facts" }, known),
    run.traceback && h("details", {}, h("summary", {}, "Traceback"), h("pre", {}, lines(run.traceback))),
    valueTable("Params", run.params),
    metricTable(best, latest),
    valueTable("Began on", run.environment),
    meta.code && [h("h3", {}, "Code"), code],
    Object.keys(packages).length > 0 && h("details", {}, h("summary", {}, counted(Object.keys(packages).length, "Python package")), valueTable("", packages)),
  ].flat(2).filter(Boolean);
}

function metricTable(best, latest) {
  const columns = [["Best", best], ["Latest", latest?.short === best?.short ? null : latest]].filter(([, checkpoint]) => checkpoint);
  const names = [...new Set(columns.flatMap(([, { metrics }]) => Object.keys(metrics)))];
  if (!names.length) return [];
  const head = columns.map(([title, { step }]) => h("th", {}, `${title}, step ${step}`));
  const rows = names.map((name) => h("tr", {}, h("th", { scope: "row" }, plain(name)), columns.map(([, { metrics }]) => h("td", {}, exact(metrics[name])))));
  return [h("h3", {}, "Metrics"), h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th"), head)), h("tbody", {}, rows))];
}

/** Return what differs between runs: params, metrics, packages and other facts, then the code of two of them. */
function runComparison(some) {
  const heads = some.map((run) => h("th", { scope: "col" }, swatch(view.chosen.get(run)), h("span", { class: "id" }, plain(run.short))));
  const kinds = {
    Params: (run) => run.params,
    Metrics: (run) => run.metrics,
    "Began on": (run) => run.environment,
    Run: (run) => ({ Status: run.status, Host: run.host, User: run.user, Command: run.command, Python: run.python_version, Keepsake: run.version }),
    Packages: (run) => meta.packages[run.packages] ?? {},
  };
  const rows = Object.entries(kinds).flatMap(([kind, find]) => {
    const names = [...new Set(some.flatMap((run) => Object.keys(find(run))))];
    const differing = names.filter((name) => new Set(some.map((run) => valueText(find(run)[name]))).size > 1);
    const text = kind === "Metrics" ? valueText : exact;
    const title = differing.length > 0 && h("tr", { class: "title" }, h("th", { colspan: some.length + 1, scope: "rowgroup" }, kind));
    return [title, ...differing.map((name) => h("tr", {}, h("th", { scope: "row" }, plain(name)), some.map((run) => h("td", {}, text(find(run)[name])))))];
  });
  const code = h("div", { class: "code" });
  if (meta.code) showDiff(code, some[0], some[1]);
  return [
    panelHead(`What differs between ${some.length} runs`),
    h("table", { class: "plain compare" }, h("thead", {}, h("tr", {}, h("th"), heads)), h("tbody", {}, rows.filter(Boolean))),
    ...(meta.code ? [h("h3", {}, some.length > 2 ? "Code of the first two" : "Code"), code] : []),
  ];
}
