// Elements and texts. Recorded values reach the page only as text.

const CONTROLS = /[\0-\t\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu;
const BAD_SURROGATE = /\p{Surrogate}/u;
const SVG = "http://www.w3.org/2000/svg";

/** Return the first element that a selector finds. */
const $ = (selector) => document.querySelector(selector);

/** Return an element. Attributes that are functions become listeners; children may be texts. */
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** Return an element of a drawing. */
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const faint = (...children) => h("span", { class: "faint" }, ...children);
const idText = (run) => h("span", { class: "id" }, plain(run.short));

/** Return text with control characters and direction marks as escapes, as the command line shows it. */
function plain(text) {
  return String(text).replace(CONTROLS, (character) => {
    const code = character.codePointAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1).replace(BAD_SURROGATE, "")}…` : text;
}

/** Return a number with so many significant digits, and no zeros at the end. */
function short(value, digits = 5) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  const size = Math.abs(value || 1);
  const isExtreme = size < 1e-4 || size >= 1e15;
  const rounded = Number(value.toPrecision(isExtreme ? digits : Math.max(digits, Math.floor(Math.log10(size)) + 1)));
  return isExtreme ? rounded.toExponential().replace("e+", "e") : String(rounded);
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;
const isMissing = (value) => value === undefined || value === null || value !== value;

/** Return a value of a param or metric as text. */
function valueText(value) {
  if (value === undefined) return "";
  if (typeof value === "number") return short(value);
  return plain(typeof value === "object" ? JSON.stringify(value) : value); // null too
}

/** Return a function that writes the numbers of a column with the same decimals, so that they align. */
function aligned(values) {
  const numbers = values.filter((value) => typeof value === "number" && Number.isFinite(value));
  if (!numbers.length || numbers.every(Number.isInteger)) return valueText;
  const sizes = numbers.map(Math.abs).filter((size) => size > 0).sort((one, other) => one - other);
  const middle = sizes[sizes.length >> 1] ?? 1;
  if (sizes[0] < 1e-4 || sizes[sizes.length - 1] / sizes[0] > 1e4) return valueText; // such as learning rates
  const own = Math.max(...numbers.slice(0, 200).map((value) => short(value).split(".")[1]?.length ?? 0));
  const decimals = Math.min(own, Math.max(0, 3 - Math.floor(Math.log10(middle))));
  return (value) => (typeof value === "number" && Number.isFinite(value) ? value.toFixed(decimals) : valueText(value));
}

function duration(seconds) {
  if (isMissing(seconds)) return "";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => seconds >= size);
  if (at < 0 || at === 3) return `${short(seconds, 3)} s`;
  const [[size, unit], [below, name]] = units.slice(at);
  const [whole, rest] = [Math.floor(seconds / size), Math.floor((seconds % size) / below)];
  return `${whole} ${unit}${rest && whole < 10 ? ` ${rest} ${name}` : ""}`;
}

function when(seconds, long = false) {
  const options = long
    ? { dateStyle: "long", timeStyle: "medium" }
    : { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Date(seconds * 1000).toLocaleString("en-GB", options).replace(",", "");
}

function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

let probe = null;
const colors = new Map();

/** Return a colour of the style, as it is in the present theme. */
function color(name) {
  if (!colors.has(name)) {
    probe ??= document.body.appendChild(h("i", { hidden: true }));
    probe.style.color = `var(--${name})`;
    colors.set(name, getComputedStyle(probe).color);
  }
  return colors.get(name);
}

const CURVES = 7; // colours; then they start again, with dashes

/** Return the colour of the curve with that number. */
function curveColor(number) {
  return color(`curve-${number % CURVES}`);
}

/** Return a small sign in that colour; without a number, in none. */
function swatch(number) {
  const sign = h("i", { class: number >= CURVES ? "swatch dashed" : "swatch" });
  if (number !== undefined) sign.style.background = `var(--curve-${number % CURVES})`;
  return sign;
}

/** Return a function that draws, at once or when the element comes into sight. It is drawn again if its size changes. */
function whenSeen(element, draw) {
  let [isInSight, drawnSize] = [false, ""]; // "": not drawn since it last had to be
  const size = () => `${element.clientWidth} ${element.clientHeight}`;
  const refresh = (always) => {
    const isDrawn = isInSight || always === true;
    drawnSize = isDrawn ? size() : "";
    if (isDrawn) draw();
  };
  const look = (entries) => {
    isInSight = entries.at(-1).isIntersecting;
    if (isInSight && !drawnSize) refresh();
  };
  new IntersectionObserver(look, { rootMargin: "200px" }).observe(element);
  new ResizeObserver(() => drawnSize && drawnSize !== size() && refresh()).observe(element);
  return refresh;
}

/** Say something for a moment. */
function toast(text) {
  $("#toast").textContent = text;
  $("#toast").classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("#toast").classList.remove("shown"), Math.max(2500, 60 * text.length));
}
