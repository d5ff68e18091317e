// The answer: which run is best, what the others are doing, and what is the same in all.

function drawAnswer() {
  $("#answer").replaceChildren(view.groups ? groupAnswer() : bestAnswer(), statusChips(), constants());
}

function bestAnswer() {
  const { best } = view;
  if (!best) {
    const why = meta.primary ? "No run has a value of the primary metric." : "No primary metric was declared, so no run is best.";
    return h("p", { class: "best-line faint" }, runs.length ? why : "There are no runs.");
  }
  const differs = labelOf(best, 6);
  const open = () => set({ open: best.id, compare: "" });
  return h("div", { class: "best-line" },
    bigValue(superlative(), valueText(best.metrics[meta.primary.name])),
    h("p", { class: "by" }, h("button", { class: "link id", click: open }, plain(best.short)),
      best.best && ` at step ${best.best.step}${best.latest.step > best.best.step ? ` of ${best.latest.step}` : ""}`,
      differs && faint(` with ${differs}`)),
    commandBox(best));
}

const bigValue = (what, text) => h("p", { class: "value" }, faint(`${what} ${plain(meta.primary.name)}`), h("strong", {}, text));

/** Say whether the best group is better than the next one for every seed. */
function groupAnswer() {
  const name = meta.primary?.name;
  const found = view.groups.filter(hasLoss).sort((one, other) => loss(one) - loss(other));
  if (!found.length) return h("p", { class: "best-line faint" }, "No group has a value of the primary metric.");
  const [one, other] = found.map((group) => group.ranges[name]);
  const [first, second] = found.map((group) => {
    const { mean, min, max, n } = group.ranges[name];
    return `${groupLabel(group)}: ${short(mean, 4)}${n > 1 ? `, from ${short(min, 4)} to ${short(max, 4)}` : ""}. `;
  });
  const isOverlap = other && Math.max(one.min, other.min) <= Math.min(one.max, other.max);
  const verdict = isOverlap ? "The ranges overlap, so it may be chance." : "The ranges do not overlap.";
  return h("div", { class: "best-line" }, bigValue("mean", short(one.mean, 4)),
    h("p", { class: "by" }, first, other && [`Next, ${second}`, h("b", {}, one.n < 2 && other.n < 2 ? "Each ran once only, so chance cannot be told apart." : verdict)]));
}

/** Return a button for each status, which filters. */
function statusChips() {
  const chips = ["running", "failed", "lost", "stopped"].map((status) => {
    const own = runs.filter((run) => run.status === status);
    const filter = `status = ${status}`;
    const isOn = state.filter === filter;
    const reasons = own.filter((run) => run.error || run.end_reason).slice(0, 5).map((run) => `${plain(run.short)}: ${cut(plain(run.error ?? run.end_reason), 100)}`);
    const attributes = { class: `status ${status}`, "aria-pressed": String(isOn), click: () => set({ filter: isOn ? "" : filter }), title: reasons.join("\n") };
    return own.length > 0 && h("button", attributes, `${own.length.toLocaleString("en-US")} ${status}`);
  });
  return h("p", { class: "chips" }, chips);
}

function constants() {
  const names = runs.length > 1 ? namesOf("params").filter((name) => !meta.params[name].differs) : [];
  const items = names.slice(0, 40).map((name, place) => [place ? ", " : "", `${plain(name)} `, h("b", {}, cut(valueText(runs[0].params[name]), 40))]);
  return h("p", { class: "same faint", hidden: !names.length }, "The same in all: ", items, names.length > 40 && ` and ${names.length - 40} more`);
}
