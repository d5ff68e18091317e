// Parallel coordinates: an axis for each param that differs, and the primary metric. A brush becomes a filter.

const AXES = 9; // the most that are drawn
const LEAST_ROOM = 72; // pixels between two axes
const FEW_VALUES = 6; // a param with no more of them is no scale
const [SIDE, TOP, BOTTOM] = [64, 52, HEIGHT - 12]; // pixels: from the sides to the axes, and where these begin and end
const SHADES = 12; // so many paths are drawn, because one for each of a thousand runs takes memory
let axes = []; // {name, title, x, axis, find}
const brushed = new Map(); // name → the condition that a brush wrote into the filter
let drawParallel;

/** Return the names of the axes: the params that matter most, as many as there is room for, and the primary metric at the end. */
function axisNames(width) {
  const most = Math.max(2, Math.min(AXES, Math.floor((width - 2 * SIDE) / LEAST_ROOM) + 1));
  const metric = meta.primary?.name ?? namesOf("metrics")[0];
  const rank = new Map(allImportances().map(([name], place) => [name, place]));
  const kept = differingParams().toSorted((one, other) => (rank.get(one) ?? 999) - (rank.get(other) ?? 999)).slice(0, most - 1).reverse();
  return [...kept.map((name) => `params.${name}`), ...(metric ? [`metrics.${metric}`] : [])];
}

function buildParallel() {
  drawParallel = whenSeen($("#parallel .drawing"), parallel);
}

function parallel() {
  const [svg, width] = emptyDrawing($("#parallel .drawing"), `Params and metric of ${counted(view.runs.length, "run")}`);
  const names = axisNames(width);
  const room = (width - 2 * SIDE) / Math.max(1, names.length - 1);
  axes = names.map((name, place) => {
    const find = safeGetter(name);
    const axis = axisOf(runs.map(find), name.startsWith("params.") ? FEW_VALUES : 0);
    return { name, title: bareName(name), find, x: names.length > 1 ? SIDE + place * room : width / 2, axis };
  });
  const line = (run) => pathOf(axes.map(({ x, axis, find }) => [x, yOf(axis.place(find(run)))]));
  const add = (some, kind, stroke) => svg.append(s("path", { class: kind, stroke, d: some.map(line).join("") }));
  const matching = new Set(view.runs);
  add(runs.filter((run) => !matching.has(run)), "left-out");
  const ranked = view.runs.toSorted((one, other) => loss(other) - loss(one)); // the best ones last
  const shareOfRun = (run, place) => (hasLoss(run) ? Math.ceil((SHADES * place) / ranked.length) / SHADES : 0);
  for (const [share, some] of Map.groupBy(ranked, shareOfRun)) add(some, ranked.length > 150 ? "line thin" : "line", shade(share));
  if (!view.groups) for (const [run, place] of [...view.chosen].reverse()) add([run], "chosen", `var(--curve-${place % CURVES})`);
  svg.append(...axes.map((each) => axisGroup(each, room)));
}

const yOf = (share) => TOP + (1 - share) * (BOTTOM - TOP);

function axisGroup({ name, title, x, axis }, room) {
  const dot = title.lastIndexOf(".") + 1; // of a param in a dict
  const letters = Math.max(6, Math.floor(room / 8));
  const ticks = axis.ticks.map(([place, text]) => [
    s("path", { d: `M${x - 3} ${yOf(place)}h6` }), s("text", { x: x + 6, y: yOf(place) + 4 }, cut(text, Math.max(5, Math.floor((room - 12) / 6)))),
  ]);
  return s("g", { class: brushed.has(name) ? "axis brushed" : "axis" },
    s("text", { x, y: 16, "text-anchor": "middle" }, cut(plain(title.slice(0, dot)), letters)),
    s("text", { x, y: 32, "text-anchor": "middle", class: "title" }, cut(plain(title.slice(dot)), letters)),
    s("path", { d: `M${x} ${TOP}V${BOTTOM}` }), ticks);
}

function beginBrush(event) {
  const box = event.currentTarget;
  const { left, top } = box.getBoundingClientRect();
  const far = ({ x }) => Math.abs(x - (event.clientX - left));
  const near = axes.toSorted((one, other) => far(one) - far(other))[0];
  if (!near || far(near) > 30) return;
  event.preventDefault();
  box.setPointerCapture(event.pointerId);
  const start = event.clientY - top;
  const mark = box.querySelector("svg").appendChild(s("rect", { class: "brush", x: near.x - 9, width: 18 }));
  box.onpointermove = ({ clientY }) => {
    const stop = clientY - top;
    fill(mark, { y: Math.min(start, stop), height: Math.abs(stop - start) });
  };
  box.onpointerup = ({ clientY }) => {
    box.onpointermove = box.onpointerup = null;
    const ends = [start, clientY - top];
    const shares = ends.map((y) => Math.max(0, Math.min(1, (BOTTOM - y) / (BOTTOM - TOP)))).sort((one, other) => one - other);
    brush(near, Math.abs(ends[1] - start) < 4 ? null : shares);
  };
}

/** Replace what an earlier brush of this axis wrote into the filter. */
function brush({ name, axis, find }, shares) {
  const before = brushed.get(name);
  const others = before ? state.filter.replace(before, "").replace(/^\s*and\s+|\s+and\s*$/g, "").replace(/ and\s+and /g, " and ") : state.filter;
  const text = shares ? rangeText(name, axis, find, shares) : "";
  if (text) brushed.set(name, text);
  else brushed.delete(name);
  const rest = / or /i.test(others) && text ? `(${others})` : others;
  set({ filter: [rest, text].filter(Boolean).join(" and ") });
  drawParallel();
}

/** Return the condition for the part of an axis between two places. */
function rangeText(name, axis, find, [low, high]) {
  if (!axis.names) {
    const [from, to] = [low, high].map((share) => Number(axis.value(share).toPrecision(4)));
    return `${conditionText(name, ">=", from)} and ${conditionText(name, "<=", to)}`;
  }
  const values = new Map(runs.map(find).filter((value) => axis.place(value) >= low && axis.place(value) <= high).map((value) => [valueText(value), value]));
  return values.size ? `${nameText(name)} in (${[...values.values()].map(literal).join(", ")})` : "";
}
