// Which params matter: the share of the ranked metric's variance between the values of a param. The same as
// keepsake/compare/importance.py, which says how it is computed and why.

const BINS = 8;
const FEW = 50; // with fewer runs, chance alone may put one param before another

/** Return [name, importance] pairs for params of some runs, the greatest first. */
function importances(some) {
  const counted = some.filter(hasLoss);
  const losses = counted.map(loss);
  const ranks = losses.map(placesOf(losses)).map((place) => place / 2);
  const shares = [];
  for (const name of differingParams()) {
    const groups = groupsOf(counted.map((run) => run.params[name]));
    if (new Set(groups).size > 1) shares.push([name, epsilonSquared(ranks, groups)]);
  }
  return shares.sort(([, one], [, other]) => other - one);
}

const allImportances = remembered(() => importances(runs));

/** Return a function from a value to the sum of the first and the last place that it has in ascending order. */
function placesOf(values) {
  const ordered = values.toSorted((one, other) => one - other || 0).map((value, place) => [value, place]);
  const [last, first] = [new Map(ordered), new Map(ordered.toReversed())];
  return (value) => first.get(value) + last.get(value);
}

/** Return a group for each value: eight bins of numbers, or the values themselves, the rare ones together. */
function groupsOf(values) {
  const present = values.filter((value) => !isMissing(value));
  const keyed = (key) => values.map((value) => (isMissing(value) ? "missing" : key(value)));
  if (present.every((value) => typeof value === "number") && new Set(present).size > BINS) {
    const placeOf = placesOf(present);
    return keyed((value) => Math.floor(((BINS / 2) * (placeOf(value) + 1)) / present.length));
  }
  const groups = keyed((value) => (typeof value === "number" ? value : JSON.stringify(value)));
  const members = Map.groupBy(groups, (group) => group);
  return groups.map((group) => (members.get(group).length > 1 ? group : "rare"));
}

function epsilonSquared(ranks, groups) {
  const members = Map.groupBy(ranks, (_, place) => groups[place]);
  const [n, k, total] = [ranks.length, members.size, spread(ranks)];
  if (k < 2 || n <= k || !total) return 0;
  const within = sum([...members.values()].map(spread));
  return Math.max(0, 1 - within / (n - k) / (total / (n - 1)));
}

function spread(values) {
  const middle = mean(values);
  return sum(values.map((value) => (value - middle) ** 2));
}

/** Draw the bars. A click on one shows that param over the primary metric. */
function drawImportance() {
  const shares = view.runs.length === runs.length ? allImportances() : importances(view.runs);
  $("#importance").hidden = !shares.length;
  if (!shares.length) return;
  const metric = meta.primary.name;
  const items = shares.slice(0, 8).map(([name, share]) => {
    const bar = h("span", { class: "bar" });
    bar.style.setProperty("--share", share);
    const open = () => {
      set({ scatter: joined([`params.${name}`, `metrics.${metric}`, list("scatter")[2] ?? ""]) });
      $("#scatter").scrollIntoView({ behavior: "smooth", block: "center" });
    };
    const percent = `${Math.round(share * 100)} %`;
    return h("li", {}, h("button", { click: open, title: `${plain(name)} explains ${percent} of the differences in ${plain(metric)}` },
      h("span", { class: "name" }, plain(name)), bar, h("span", { class: "share" }, percent)));
  });
  const count = view.runs.filter(hasLoss).length;
  const note = `Share of ${plain(metric)} that each param explains by itself, among ${count} runs.${count < FEW ? " With so few, chance plays a part." : ""}`;
  $("#importance ol").replaceChildren(...items);
  $("#importance p").textContent = note;
}
