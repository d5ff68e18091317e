// What is visible: the runs that match the filter, sorted, or groups of them; and the best of them.

const view = { runs: [], groups: null, best: null, chosen: new Map(), test: () => true, error: "", printed: false };
const SEED = /^((.*[._-])?(seed|rng|random_?state)([_-](everything|value|num|id))?|.*[a-z]seed)$/i; // as in compare/groups.py

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
    if (view.groups) view.groups = sorted(view.groups, sortKeys().map(([name, down]) => [groupGetter(name), down]));
    view.runs = sorted(view.runs, sortKeys().map(([name, down]) => [getter(name), down]));
  } catch (error) {
    view.error ||= error.message;
  }
  view.chosen = chosen();
  cursor = Math.max(0, Math.min(cursor, visible().length - 1));
}

/** Return the params that tell repeats of the same thing apart. */
const seedNames = () => namesOf("params").filter((name) => SEED.test(name));

/** Return groups of runs whose params are the same, but for those that do not count. */
function groupsByParams(some) {
  const ignored = list("group");
  const names = differingParams().filter((name) => !ignored.includes(name));
  const dict = (keys, make) => decoded(Object.fromEntries(keys.map((name) => [name, make(name)])));
  const groups = Map.groupBy(some, (run) => JSON.stringify(names.map((name) => valueText(run.params[name]))));
  return [...groups.values()].map((own) => ({
    runs: own,
    params: dict(names, (name) => own[0].params[name]),
    metrics: dict(namesOf("metrics"), (name) => summary(own.map((run) => run.metrics[name]))),
  }));
}

function summary(values) {
  const known = values.filter((value) => typeof value === "number" && !Number.isNaN(value));
  if (!known.length) return undefined;
  return { mean: mean(known), min: Math.min(...known), max: Math.max(...known), n: known.length };
}

function groupGetter(name) {
  const bare = bareName(name);
  return (group) => (name === "n" ? group.runs.length : group.metrics[bare]?.mean ?? group.params[bare]);
}

/** Return the filter that matches the runs of a group. */
function groupFilter(group) {
  return Object.entries(group.params).map(([name, value]) => conditionText(name, "=", value ?? null)).join(" and ");
}
