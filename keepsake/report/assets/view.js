// What is visible: the runs that match the filter, sorted, or groups of them; and the best of them.

const view = { runs: [], groups: null, best: null, chosen: new Map(), test: () => true, error: "", printed: false };

function recompute() {
  view.error = "";
  try {
    view.test = parseFilter(state.filter);
  } catch (error) {
    view.error = error.message; // the last filter that could be read goes on
  }
  view.runs = runs.filter(view.test);
  view.groups = state.group ? groupsByParams(view.runs) : null;
  view.best = bestOf(view.runs);
  try {
    const keys = sortKeys().map(([name, down]) => [getter(name), down]);
    view.runs = sorted(view.runs, keys);
    view.groups = view.groups && sorted(view.groups, keys);
  } catch (error) {
    view.error ||= error.message;
  }
  view.chosen = chosen();
  cursor = Math.max(0, Math.min(cursor, visible().length - 1));
}

/** Return the params that tell repeats of the same thing apart. */
const seedNames = () => namesOf("params").filter((name) => meta.params[name].seed);

/** Return groups of runs whose params are the same, but for those that do not count. Its metrics are their means. */
function groupsByParams(some) {
  const ignored = list("group");
  const names = differingParams().filter((name) => !ignored.includes(name));
  const dict = (keys, make) => decoded(Object.fromEntries(keys.map((name) => [name, make(name)])));
  const groups = Map.groupBy(some, (run) => JSON.stringify(names.map((name) => valueText(run.params[name]))));
  return [...groups.values()].map((own) => {
    const ranges = dict(namesOf("metrics"), (name) => rangeOf(own.map((run) => run.metrics[name])));
    const metrics = dict(Object.keys(ranges), (name) => ranges[name]?.mean);
    return { runs: own, params: dict(names, (name) => own[0].params[name]), metrics, last: metrics, best: { metrics }, ranges };
  });
}

function rangeOf(values) {
  const known = values.filter((value) => typeof value === "number" && !Number.isNaN(value));
  return known.length ? { mean: mean(known), min: Math.min(...known), max: Math.max(...known), n: known.length } : undefined;
}

/** Return the filter that matches the runs of a group. */
function groupFilter(group) {
  return Object.entries(group.params).map(([name, value]) => conditionText(name, "=", value ?? null)).join(" and ");
}
