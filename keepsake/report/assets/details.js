// The panel at the side: all about one run, or what differs between those that are ticked.

function drawPanel() {
  const panel = document.getElementById("panel");
  const compared = state.compare ? list("ticked").map((id) => byId.get(id)).filter(Boolean) : [];
  const run = byId.get(state.open);
  const content = compared.length > 1 ? runComparison(compared) : run ? details(run) : null;
  panel.hidden = !content;
  document.body.classList.toggle("with-panel", Boolean(content));
  panel.replaceChildren(...(content ?? []));
  panel.scrollTop = 0;
}

function panelHead(title, ...more) {
  const close = h("button", { class: "quiet close", "aria-label": "Close", click: () => set({ open: "", compare: "" }) }, "✕");
  return h("header", {}, h("h2", { tabindex: -1 }, title), more, close);
}

function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function command(run) {
  return `keepsake checkout ${run.short}`;
}

function checkoutButton(run) {
  const copy = (event) => {
    event.stopPropagation();
    copyText(command(run));
  };
  return h("button", { class: "quiet copy", click: copy, tabindex: -1, title: `Copy: ${plain(command(run))}`, "aria-label": `Copy ${plain(command(run))}` }, "copy");
}

function valueTable(title, values, render = valueText) {
  const names = Object.keys(values);
  if (!names.length) return null;
  const rows = names.map((name) => h("tr", {}, h("th", { scope: "row" }, plain(name)), h("td", {}, render(values[name]))));
  return [h("h3", {}, title), h("table", { class: "plain" }, h("tbody", {}, rows))];
}

const exact = (value) => (typeof value === "number" && Number.isFinite(value) ? String(value) : valueText(value));

function details(run) {
  const { best, latest } = run;
  const packages = meta.packages[run.packages] ?? {};
  const title = h("span", {}, h("span", { class: "id" }, plain(run.short)), run === view.best && h("span", { class: "star" }, " ★ best"));
  const code = h("div", { class: "code" });
  if (meta.code) showFiles(code, run);
  return [
    panelHead(title),
    h("div", { class: "command" }, h("code", {}, plain(command(run))), h("button", { click: () => copyText(command(run)) }, "Copy")),
    facts([
      ["Name", run.name && plain(run.name)],
      ["Status", h("span", { class: `status ${run.status}` }, h("b", {}, run.status), run.reason && ` ${plain(run.reason)}`)],
      ["Error", run.error && plain(run.error)],
      ["Notes", run.notes && h("span", { class: "pre" }, plain(run.notes))],
      ["Tags", plain((run.tags ?? []).join(", "))],
      ["Started", when(run.created, true)],
      ["Took", duration(run.duration)],
      ["User", run.user && plain(run.user)],
      ["Host", run.host && plain(run.host)],
      ["Command", run.command && h("code", {}, plain(run.command))],
      ["Path", run.path && h("code", {}, plain(run.path))],
      ["Python", run.python_version && plain(run.python_version)],
      ["Keepsake", run.version && plain(run.version)],
      ["Checkpoints", String(run.checkpoints)],
      ["Best", best && `${plain(best.short)} at step ${best.step}, after ${duration(best.time)}`],
      ["Latest", latest && `${plain(latest.short)} at step ${latest.step}, after ${duration(latest.time)}`],
      ["ID", h("code", { class: "pre" }, plain(run.id))],
    ]),
    run.traceback && h("details", {}, h("summary", {}, "Traceback"), h("pre", {}, run.traceback.split("\n").map(plain).join("\n"))),
    valueTable("Params", run.params, exact),
    metricTable(best, latest),
    valueTable("Began on", run.environment),
    meta.code && [h("h3", {}, "Code"), code],
    Object.keys(packages).length > 0 && h("details", {}, h("summary", {}, counted(Object.keys(packages).length, "Python package")), valueTable("", packages).slice(1)),
  ].flat(2).filter(Boolean);
}

function metricTable(best, latest) {
  const names = [...new Set([...Object.keys(best?.metrics ?? {}), ...Object.keys(latest?.metrics ?? {})])];
  if (!names.length) return null;
  const both = best && latest && best.id !== latest.id;
  const head = h("tr", {}, h("th"), best && h("th", {}, `Best, step ${best.step}`), (both || !best) && h("th", {}, `Latest, step ${latest.step}`));
  const rows = names.map((name) => h("tr", {}, h("th", { scope: "row" }, plain(name)), best && h("td", {}, exact(best.metrics[name])), (both || !best) && h("td", {}, exact(latest.metrics[name]))));
  return [h("h3", {}, "Metrics"), h("table", { class: "plain" }, h("thead", {}, head), h("tbody", {}, rows))];
}

/** Return what differs between runs: params, metrics, packages and other facts, then the code of two of them. */
function runComparison(some) {
  const heads = some.map((run, place) => {
    const swatch = h("i", { class: "swatch" });
    swatch.style.background = chosen().find((each) => each.run === run)?.color ?? curveColor(place);
    return h("th", { scope: "col" }, swatch, h("span", { class: "id" }, plain(run.short)));
  });
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
    const title = differing.length > 0 && h("tr", { class: "title" }, h("th", { colspan: some.length + 1, scope: "rowgroup" }, kind));
    return [title, ...differing.map((name) => h("tr", {}, h("th", { scope: "row" }, plain(name)), some.map((run) => h("td", {}, (kind === "Metrics" ? valueText : exact)(find(run)[name])))))];
  });
  const code = h("div", { class: "code" });
  const parts = [panelHead(`What differs between ${some.length} runs`), h("table", { class: "plain compare" }, h("thead", {}, h("tr", {}, h("th"), heads)), h("tbody", {}, rows.filter(Boolean)))];
  if (!meta.code) return parts;
  parts.push(h("h3", {}, some.length > 2 ? "Code of the first two" : "Code"), code);
  showDiff(code, some[0], some[1]);
  return parts;
}
