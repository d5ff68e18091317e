// Names and filters, with the meaning that they have on the command line (keepsake/listing).

const FIELDS = { // name → type
  created: "time", step: "number", user: "text", host: "text", command: "text", status: "status", id: "id",
  checkpoints: "number", duration: "seconds", ended: "time", end_reason: "text", error: "text", name: "text",
  notes: "text", parent: "id", path: "text", tags: "tags",
};
const ORIGINAL = ["created", "step", "user", "host", "command", "status"]; // these come before params and metrics
const PREFIXES = {
  "params.": (name) => (run) => run.params[name],
  "metrics.": (name) => (run) => run.metrics[name],
  "best:": (name) => (run) => run.best?.metrics[name],
  "last:": (name) => (run) => run.last[name],
};

/** Return what a name means: [its type, a function from a run to its value]. Throws an Error if no run has it. */
const fieldOf = remembered((given) => {
  const name = given === "started" ? "created" : given;
  const has = (find) => !runs.length || runs.some((run) => find(run) !== undefined);
  for (const prefix in PREFIXES) {
    if (name.startsWith(prefix)) {
      const find = PREFIXES[prefix](name.slice(prefix.length));
      if (has(find)) return ["value", find];
    }
  }
  const bare = name.replace(/^fields\./, "");
  const field = Object.hasOwn(FIELDS, bare) && [FIELDS[bare], (run) => run[bare]];
  if (field && (ORIGINAL.includes(name) || name !== bare)) return field;
  const find = (run) => (run.best && name in run.best.metrics ? run.best.metrics[name] : run.params[name]);
  const last = (run) => run.last[name];
  if (has(find)) return ["value", find];
  if (has(last)) return ["value", last];
  if (field) return field;
  const known = [...namesOf("metrics"), ...namesOf("params"), ...Object.keys(FIELDS)];
  throw new Error(`No run has a metric, param or field "${plain(cut(name, 60))}".${similar(name, known)}`);
});

const getter = (name) => fieldOf(name)[1];

/** Return a function from a run to its value; a name that no run has means nothing. */
function safeGetter(name) {
  try {
    return getter(name);
  } catch {
    return () => undefined;
  }
}

/** Return a question about the names that have most pairs of letters in common with a name; "" if none is like it. */
function similar(name, known) {
  const pairsOf = (text) => new Set(Array.from(text.toLowerCase(), (_, at) => text.toLowerCase().slice(at, at + 2)));
  const wanted = pairsOf(name);
  const likeness = (own) => (2 * wanted.intersection(own).size) / (wanted.size + own.size);
  const ranked = known.map((each) => [each.endsWith(`.${name}`) ? 1 : likeness(pairsOf(each)), each]);
  const close = ranked.filter(([share]) => share > 0.6).sort(([one], [other]) => other - one).slice(0, 3);
  return close.length ? ` Did you mean ${close.map(([, each]) => `"${plain(each)}"`).join(" or ")}?` : "";
}

/** Compile a filter. Returns a function from a run to whether it matches; throws an Error that says what is wrong. */
function parseFilter(text) {
  return text.trim() ? compile(new FilterParser(text).parse()) : () => true;
}

function compile(node) {
  if (node.not) {
    const test = compile(node.not);
    return (run) => !test(run);
  }
  if (node.parts) {
    const tests = node.parts.map(compile);
    return node.word === "and" ? (run) => tests.every((test) => test(run)) : (run) => tests.some((test) => test(run));
  }
  const [type, find] = fieldOf(node.name);
  const made = node.values.map((value) => valueTest(node.name, type, node.symbol.endsWith("in") ? "=" : node.symbol, value));
  const isWanted = node.symbol !== "not in";
  return (run) => {
    const value = find(run) ?? null;
    return made.some((test) => test(value)) === isWanted;
  };
}

const NUMBER = /^[+-]?(0|[1-9]\d*|(?=\.\d))(\.\d*)?(e[+-]?\d+)?$/i;

function parseValue({ text, isQuoted }) {
  if (isQuoted) return text;
  if (text === "null" || text === "None") return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (/^(nan|[+-]?inf(inity)?)$/i.test(text)) return /nan/i.test(text) ? NaN : text.startsWith("-") ? -Infinity : Infinity;
  if (NUMBER.test(text)) return Number(text);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const COMPARE = {
  "=": (one, other) => one === other,
  "!=": (one, other) => one !== other,
  "<": (one, other) => one < other,
  "<=": (one, other) => one <= other,
  ">": (one, other) => one > other,
  ">=": (one, other) => one >= other,
};
const STATUSES = ["running", "stopped", "failed", "lost"];
const ENDED = STATUSES.slice(1); // a run that failed or was lost has stopped, too
const IS_WANTED = { // type without an order → whether a value is the wanted one
  status: (found, wanted) => found === wanted || (wanted === "stopped" && ENDED.includes(found)),
  id: (found, wanted) => (found ?? "").startsWith(wanted),
  tags: (found, wanted) => (found ?? []).includes(wanted),
};

/** Return a function from a value, or null, to whether it is as wanted. */
function valueTest(name, type, symbol, value) {
  const wanted = parseValue(value);
  const isWanted = IS_WANTED[type];
  if (wanted === null) return (found) => (found === null) === (symbol === "=");
  if (type === "time") return timeTest(symbol, value.text);
  if (type === "seconds") return durationTest(symbol, value.text);
  if (isWanted && symbol !== "=" && symbol !== "!=") throw new Error(`"${name}" has no order. Compare it by = or !=.`);
  if (type === "status" && !STATUSES.includes(value.text)) throw new Error('"status" is "running", "stopped", "failed" or "lost".');
  if (isWanted) return (found) => isWanted(found, value.text) === (symbol === "=");
  if (type === "number" && typeof wanted !== "number") throw new Error(`"${name}" is a number.`);
  return plainTest(name, symbol, type === "text" ? value.text : wanted);
}

function plainTest(name, symbol, wanted) {
  const isEquality = symbol === "=" || symbol === "!=";
  if (typeof wanted === "object" && !isEquality) throw new Error(`Lists and dicts have no order. Compare ${plain(name)} by = or !=.`);
  if (Number.isNaN(wanted) && isEquality) return (found) => Number.isNaN(found) === (symbol === "=");
  const key = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  return (found) => (found !== null && typeof found === typeof wanted ? COMPARE[symbol](key(found), key(wanted)) : symbol === "!=");
}

// Times

const UNITS = [[/^(s|secs?|seconds?)$/, 1], [/^(m|mins?|minutes?)$/, 60], [/^(h|hrs?|hours?)$/, 3600], [/^(d|days?)$/, 86400],
  [/^(w|weeks?)$/, 604800], [/^months?$/, 2592000], [/^(y|years?)$/, 31536000]];

/** Return the seconds that a text such as 90, 1h 30m or a day names; NaN if it names none. */
function parseDuration(text) {
  if (/^(\d+(\.\d*)?|\.\d+)$/.test(text)) return Number(text);
  const part = /\s*(\d+(?:\.\d*)?|\.\d+|\ban?\b)\s*([a-z]+)/iy;
  let [seconds, end] = [0, 0];
  for (let found; (found = part.exec(text)); end = part.lastIndex) {
    const unit = UNITS.find(([names]) => names.test(found[2].toLowerCase()));
    seconds += (unit?.[1] ?? NaN) * (/^an?$/i.test(found[1]) ? 1 : Number(found[1]));
  }
  return end && !text.slice(end).trim() ? seconds : NaN;
}

function durationTest(symbol, text) {
  const wanted = parseDuration(text);
  if (Number.isNaN(wanted)) throw new Error(`"${plain(text)}" is no duration. Write 90 (seconds), 5 minutes or 1h 30m.`);
  return (found) => (found === null ? symbol === "!=" : COMPARE[symbol](found, wanted));
}

/** Compare whole seconds with when a text begins; equal is what lies in its month, day, minute or second. */
function timeTest(symbol, text) {
  const [start, end] = parseTime(text);
  if (symbol !== "=" && symbol !== "!=") return (found) => found !== null && COMPARE[symbol](Math.floor(found), start);
  if (end === null) throw new Error(`"${plain(text)}" is a moment. Compare it by <, <=, > or >=.`);
  return (found) => (found !== null && start <= found && found < end) === (symbol === "=");
}

/** Return the seconds at which a time begins and ends; a moment such as "2 hours ago" has no end. */
function parseTime(text) {
  const now = Math.floor(Date.now() / 1000);
  if (/^now$/i.test(text)) return [now, null];
  const ago = /^(.*\S)\s+ago$/i.exec(text);
  if (ago && !Number.isNaN(parseDuration(ago[1]))) return [Math.floor(Date.now() / 1000 - parseDuration(ago[1])), null];
  if (/^\d{9,11}(\.\d*)?$/.test(text)) return [Number(text), Number(text) + 1];
  if (/^(today|yesterday)$/i.test(text)) {
    const start = new Date();
    start.setHours(0, 0, 0, 0);
    if (/^y/i.test(text)) start.setDate(start.getDate() - 1);
    return [start / 1000, start / 1000 + 86400];
  }
  const date = /^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:[T\s]+(\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*(Z|UTC)?)?$/.exec(text);
  if (!date) throw new Error(`"${plain(text)}" is no time that the page knows. Write 2026-03-14, 2026-03-14 09:41, yesterday or 2 hours ago.`);
  const [year, month, day, hours, minutes, seconds] = date.slice(1, 7).map((part) => Number(part ?? 0));
  const moment = (...parts) => (date[7] ? Date.UTC(...parts) : new Date(...parts).getTime()) / 1000;
  const start = moment(year, (month || 1) - 1, day || 1, hours, minutes, seconds);
  if (date[4]) return [start, start + (date[6] ? 1 : 60)];
  return [start, day ? start + 86400 : month ? moment(year, month, 1) : moment(year + 1, 0, 1)];
}

// Writing

const isPlainWord = (text) => /^[a-z_][\w.:-]*$/i.test(text) && !/^(not|and|or|in)$/i.test(text);

/** Return a condition as text. */
function conditionText(name, operator, value) {
  return `${nameText(name)} ${operator} ${literal(value)}`;
}

const nameText = (name) => (isPlainWord(name) ? name : JSON.stringify(name));

/** Return a value as it is written in a filter. */
function literal(value) {
  if (typeof value === "number") return String(value);
  const isBare = typeof value === "string" && isPlainWord(value) && parseValue({ text: value }) === value;
  return isBare ? value : JSON.stringify(value);
}

// Sorting

/** Return the chosen sort keys: [name, whether descending]. */
function sortKeys() {
  const keys = list("sort").map((key) => [key.replace(/-(asc|desc)$/, ""), key.endsWith("-desc")]);
  if (keys.length) return keys;
  if (!meta.primary) return [["created", true]];
  return [[`metrics.${meta.primary.name}`, meta.primary.goal === "maximize"]];
}

const ORDER = { boolean: 1, number: 2, string: 4, object: 5 };

/** Return items sorted by [a function to the value, whether descending] pairs; those without a value come last. */
function sorted(items, keys) {
  return items.toSorted((one, other) => {
    for (const [find, descending] of keys) {
      const [left, right] = [find(one), find(other)];
      const [no, none] = [isMissing(left), isMissing(right)];
      if (no !== none) return no - none;
      const order = no ? 0 : compareValues(left, right);
      if (order) return descending ? -order : order;
    }
    return 0;
  });
}

function compareValues(left, right) {
  if (typeof left !== typeof right) return ORDER[typeof left] - ORDER[typeof right];
  const [one, other] = typeof left === "object" ? [JSON.stringify(left), JSON.stringify(right)] : [left, right];
  return one < other ? -1 : one > other ? 1 : 0;
}
