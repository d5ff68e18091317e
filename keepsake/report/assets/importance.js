// Which params matter: the share of the ranked metric's variance between the values of a param. The same as
// keepsake/compare/importance.py, which says how it is computed and why.

const BINS = 8;
const FEW = 50; // with fewer runs, chance alone may put one param before another

/** Return [name, importance] pairs for params of some runs, the greatest first. */
function importances(some) {
  const counted = some.filter((run) => !Number.isNaN(loss(run)));
  const ranks = places(counted.map(loss)).map(([first, last]) => (first + last) / 2);
  const shares = [];
  for (const name of namesOf("params")) {
    const groups = groupsOf(counted.map((run) => run.params[name]));
    if (new Set(groups).size > 1) shares.push([name, epsilonSquared(ranks, groups)]);
  }
  return shares.sort(([, one], [, other]) => other - one);
}

/** Return the first and the last place that each value has in ascending order. */
function places(values) {
  const order = [...values.keys()].sort((one, other) => values[one] - values[other] || 0);
  const found = new Array(values.length);
  for (let start = 0, end; start < order.length; start = end) {
    end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let at = start; at < end; at++) found[order[at]] = [start, end - 1];
  }
  return found;
}

function groupsOf(values) {
  const present = values.filter((value) => !isMissing(value));
  const isNumeric = present.every((value) => typeof value === "number");
  if (isNumeric && new Set(present).size > BINS) {
    const bins = places(present).map(([first, last]) => Math.floor(((BINS / 2) * (first + last + 1)) / present.length));
    let next = 0;
    return values.map((value) => (isMissing(value) ? "missing" : bins[next++]));
  }
  const groups = values.map((value) => (isMissing(value) ? "missing" : typeof value === "number" ? value : JSON.stringify(value)));
  const sizes = new Map();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  return groups.map((group) => (sizes.get(group) > 1 ? group : "rare"));
}

function epsilonSquared(ranks, groups) {
  const members = new Map();
  ranks.forEach((rank, place) => {
    if (!members.has(groups[place])) members.set(groups[place], []);
    members.get(groups[place]).push(rank);
  });
  const [n, k, total] = [ranks.length, members.size, spread(ranks)];
  if (k < 2 || n <= k || !total) return 0;
  let within = 0;
  for (const own of members.values()) within += spread(own);
  return Math.max(0, 1 - within / (n - k) / (total / (n - 1)));
}

function spread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}

/** Draw the bars. A click on one shows that param over the primary metric. */
function drawImportance(box) {
  const counted = view.runs.filter((run) => !Number.isNaN(loss(run)));
  const shares = importances(view.runs);
  box.hidden = !shares.length;
  if (box.hidden) return;
  const items = shares.slice(0, 8).map(([name, share]) => {
    const bar = h("span", { class: "bar" });
    bar.style.setProperty("--share", share);
    const open = () => {
      set({ scatter: joined([`params.${name}`, `metrics.${meta.primary.name}`, list("scatter")[2] ?? ""]) });
      document.getElementById("scatter").scrollIntoView({ behavior: "smooth", block: "center" });
    };
    const title = `${plain(name)} explains ${Math.round(share * 100)} % of the differences in ${plain(meta.primary.name)}`;
    return h("li", {}, h("button", { click: open, title }, h("span", { class: "name" }, plain(name)), bar,
      h("span", { class: "share" }, `${Math.round(share * 100)} %`)));
  });
  const weak = counted.length < FEW ? ` With so few, chance plays a part.` : "";
  const note = `Share of ${plain(meta.primary.name)} that each param explains by itself, among ${counted.length} runs.${weak}`;
  box.replaceChildren(h("h2", {}, "What matters"), h("ol", { class: "bars" }, items), h("p", { class: "faint small" }, note));
}
