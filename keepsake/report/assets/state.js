// What the person has chosen. It is kept in the address, so that a link or a bookmark shows the same view.

const DEFAULTS = {
  filter: "", // in the language of the command line
  sort: "", // keys, divided by commas; "": the primary metric, best first
  ticked: "", // IDs, divided by commas
  columns: "", // names that were switched, divided by commas
  group: "", // the params that do not count, divided by commas; "": no groups
  x: "step", // or "time" or "relative"
  logx: "",
  logy: "",
  smooth: "0", // from 0 to 0.98
  open: "", // the ID of the run whose details are shown
  compare: "", // "1": the ticked runs are compared
  scatter: "", // names for x, y and colour, divided by commas
  theme: "", // or "light" or "dark"; "": the system's
};
const ALLOWED = { x: /^(step|time|relative)$/, smooth: /^0(\.\d+)?$/, theme: /^(light|dark)$/ };
const state = { ...DEFAULTS };
let parts = []; // [what draws a part of the page, the keys that it depends on], in the order in which they are drawn

/** Draw what depends on these keys; without any, everything. */
function draw(changed) {
  for (const [part, keys] of parts) if (!changed || keys.split(" ").some((key) => changed.includes(key))) part();
}

/** Change the state, and draw what depends on it. */
function set(changes) {
  const changed = Object.keys(changes).filter((key) => state[key] !== changes[key]);
  Object.assign(state, changes);
  if (!changed.length) return;
  writeHash();
  draw(changed);
}

/** Return the names in a list of the state; a name's own commas are escaped there. */
function list(key) {
  return state[key] ? state[key].split(",").map((name) => name.replaceAll("%2C", ",").replaceAll("%25", "%")) : [];
}

function joined(names) {
  return names.map((name) => name.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

function toggled(key, name) {
  const names = list(key);
  return joined(names.includes(name) ? names.filter((each) => each !== name) : [...names, name]);
}

function writeHash() {
  const chosen = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  try {
    history.replaceState(null, "", `#${new URLSearchParams(chosen)}`);
  } catch {
    // A frame without an address of its own keeps the view only while it is open.
  }
}

/** Return the state that the address holds. What makes no sense there is as if it were missing. */
function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, usual]) => {
    const value = given.get(key) ?? usual;
    return [key, ALLOWED[key]?.test(value) === false ? usual : value];
  }));
}
