// Filters and sort keys in the language of the command line.

const ORIGINAL = {
  created: (run) => run.created,
  step: (run) => run.latest?.step ?? 0,
  user: (run) => run.user ?? "",
  host: (run) => run.host ?? "",
  command: (run) => run.command ?? "",
  status: (run) => run.status,
};
const ADDED = {
  id: (run) => run.id,
  checkpoints: (run) => run.checkpoints,
  duration: (run) => run.duration,
  ended: (run) => run.ended,
  end_reason: (run) => run.reason,
  error: (run) => run.error,
  name: (run) => run.name,
  notes: (run) => run.notes,
  parent: (run) => run.parent,
  path: (run) => run.path,
  tags: (run) => run.tags,
};
const PREFIXES = {
  "params.": (name) => (run) => run.params[name],
  "metrics.": (name) => (run) => run.metrics[name],
  "best:": (name) => (run) => run.best?.metrics[name],
  "last:": (name) => (run) => run.latest?.metrics[name],
  "fields.": (name) => ORIGINAL[name] ?? ADDED[name] ?? (() => undefined),
};
const TIMES = ["created", "ended"];

/** Return what a name means: a function from a run to its value. Throws an Error if no run has it. */
const getter = remembered((given) => {
  const name = given === "started" ? "created" : given;
  for (const prefix in PREFIXES) {
    if (name.startsWith(prefix)) {
      const find = PREFIXES[prefix](name.slice(prefix.length));
      if (prefix === "fields." || runs.some((run) => find(run) !== undefined)) return find;
    }
  }
  if (ORIGINAL[name]) return ORIGINAL[name];
  const find = (run) => run.metrics[name] ?? run.params[name];
  if (runs.some((run) => find(run) !== undefined)) return find;
  if (ADDED[name]) return ADDED[name];
  const known = [...namesOf("metrics"), ...namesOf("params"), ...Object.keys(ORIGINAL), ...Object.keys(ADDED)];
  throw new Error(`No run has a param, metric or field "${plain(name)}".${similar(name, known)}`);
});

function similar(name, known) {
  const close = known
    .map((each) => [distance(name.toLowerCase(), each.toLowerCase()), each])
    .filter(([far, each]) => far <= Math.max(2, each.length / 3) || each.toLowerCase().endsWith(`.${name.toLowerCase()}`))
    .sort(([one], [other]) => one - other);
  return close.length ? ` Did you mean ${close.slice(0, 3).map(([, each]) => `"${plain(each)}"`).join(" or ")}?` : "";
}

/** Return how many characters must be changed to make one text of another. */
function distance(one, other) {
  if (one.length > 60 || other.length > 60) return Infinity;
  let row = [...Array(other.length + 1).keys()];
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] !== other[j - 1])));
    }
    row = next;
  }
  return row[other.length];
}

/** Compile a filter. Returns a function from a run to whether it matches; throws an Error that says what is wrong. */
function parseFilter(text) {
  const parser = { text, at: 0 };
  if (!text.trim()) return () => true;
  const test = either(parser);
  if (rest(parser)) throw new Error(`This is not understood: ${plain(cut(rest(parser), 40))}`);
  return test;
}

const rest = (parser) => parser.text.slice(parser.at).trim();

function take(parser, pattern) {
  pattern.lastIndex = parser.at;
  const match = pattern.exec(parser.text);
  if (match) parser.at = pattern.lastIndex;
  return match;
}

function either(parser) {
  const tests = [both(parser)];
  while (take(parser, /\s+or\b|(?<=\))\s*or\b/iy)) tests.push(both(parser));
  return tests.length === 1 ? tests[0] : (run) => tests.some((test) => test(run));
}

function both(parser) {
  const tests = [negated(parser)];
  while (take(parser, /\s+and\b|(?<=\))\s*and\b/iy)) tests.push(negated(parser));
  return tests.length === 1 ? tests[0] : (run) => tests.every((test) => test(run));
}

function negated(parser) {
  if (take(parser, /\s*not\b(?=\s*\(|\s+\S)/iy)) {
    const test = negated(parser);
    return (run) => !test(run);
  }
  if (take(parser, /\s*\(/y)) {
    const test = either(parser);
    if (!take(parser, /\s*\)/y)) throw new Error("A parenthesis is not closed.");
    return test;
  }
  return condition(parser);
}

function condition(parser) {
  const name = take(parser, /\s*(?:"((?:[^"\\]|\\.)*)"|([^\s=<>!()"][^=<>!()]*?))(?=\s*(?:==|[!<>]=|[=<>])|\s+(?:not\s+)?in\s*\()/y);
  if (!name) {
    const shown = plain(cut(rest(parser), 40));
    throw new Error(`A condition is NAME OPERATOR VALUE, such as val_loss < 0.2${shown ? `, not ${shown}` : ""}.`);
  }
  const field = name[1] === undefined ? name[2] : unquote(`"${name[1]}"`);
  const among = take(parser, /\s+(not\s+)?in\s*\(/iy);
  if (among) {
    const tests = members(parser).map((value) => comparison(field, "=", value));
    return (run) => tests.some((test) => test(run)) !== Boolean(among[1]);
  }
  const operator = take(parser, /\s*(==|[!<>]=|[=<>])/y)[1];
  const value = take(parser, /\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|[^()"]+?)(?=\s*\)|\s+(?:and|or)\b|\s*$)/iy);
  if (!value) throw new Error(`${plain(field)} ${operator} needs a value.`);
  return comparison(field, operator === "==" ? "=" : operator, value[1]);
}

function members(parser) {
  const values = [];
  do {
    const value = take(parser, /\s*("(?:[^"\\]|\\.)*"|[^,()"]+?)(?=\s*[,)])/y);
    if (!value) throw new Error("In parentheses, give values divided by commas, such as (adam, sgd).");
    values.push(value[1]);
  } while (take(parser, /\s*,/y));
  take(parser, /\s*\)/y);
  return values;
}

function unquote(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(1, -1);
  }
}

function parseValue(text) {
  if (text === "null" || text === "None") return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (/^[+-]?(nan|inf|infinity)$/i.test(text)) return /nan/i.test(text) ? NaN : text.startsWith("-") ? -Infinity : Infinity;
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) return unquote(text);
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
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

function comparison(name, operator, text) {
  const find = getter(name);
  const bare = name.replace(/^fields\./, "").replace(/^started$/, "created");
  let wanted = parseValue(text);
  if (wanted === null) return (run) => ((find(run) ?? null) === null) === (operator === "=");
  if (TIMES.includes(bare) && find === (ORIGINAL[bare] ?? ADDED[bare])) return timeTest(find, operator, text);
  if (find === ORIGINAL.status && wanted === "stopped" && "=!=".includes(operator)) {
    const stopped = ["stopped", "failed", "lost"]; // all that do not run
    return (run) => stopped.includes(run.status) === (operator === "=");
  }
  if ([ORIGINAL.user, ORIGINAL.host, ORIGINAL.command].includes(find) && typeof wanted !== "string") wanted = text;
  if (find === ADDED.tags) return (run) => (run.tags ?? []).includes(wanted) === (operator === "=");
  if (typeof wanted === "object" && !"!=".includes(operator)) throw new Error("Lists and dicts have no order.");
  if (wanted !== wanted) return (run) => Number.isNaN(find(run)) === (operator === "=");
  const key = typeof wanted === "object" ? JSON.stringify(wanted) : wanted;
  return (run) => {
    const value = find(run);
    if (typeof value !== typeof wanted || value === null) return operator === "!=";
    return COMPARE[operator](typeof value === "object" ? JSON.stringify(value) : value, key);
  };
}

const UNITS = { second: 1, sec: 1, minute: 60, min: 60, hour: 3600, day: 86400, week: 604800, month: 2629800, year: 31557600 };

/** Compare with the whole of the time that a text names: a day, a minute or a second. */
function timeTest(find, operator, text) {
  const [start, end] = parseTime(/^".*"$/.test(text) ? unquote(text) : text);
  const tests = {
    "=": (value) => start <= value && value < end,
    "!=": (value) => !(start <= value && value < end),
    "<": (value) => value < start,
    "<=": (value) => Math.floor(value) <= start,
    ">": (value) => Math.floor(value) > start,
    ">=": (value) => value >= start,
  };
  return (run) => {
    const value = find(run);
    return typeof value === "number" && tests[operator](value);
  };
}

function parseTime(text) {
  const ago = /^(\d+(?:\.\d+)?|an?)\s+([a-z]+?)s?\s+ago$/i.exec(text.trim());
  if (ago && UNITS[ago[2].toLowerCase()]) {
    const start = Date.now() / 1000 - (Number(ago[1]) || 1) * UNITS[ago[2].toLowerCase()];
    return [start, start + 1];
  }
  if (/^\d{9,11}(\.\d*)?$/.test(text)) return [Number(text), Number(text) + 1];
  const day = /^(today|yesterday)$/i.exec(text.trim());
  const date = /^(\d{4})-(\d\d)(?:-(\d\d))?(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*(Z)?)?$/.exec(text.trim());
  if (day) {
    const start = new Date();
    start.setHours(0, 0, 0, 0);
    if (/yesterday/i.test(day[1])) start.setDate(start.getDate() - 1);
    return [start / 1000, start / 1000 + 86400];
  }
  if (!date) throw new Error(`"${plain(text)}" is no time. Write 2026-03-14, 2026-03-14 09:41 or 2 hours ago.`);
  const [year, month, number, hours, minutes, seconds] = date.slice(1, 7).map((part) => Number(part ?? 0));
  const parts = [year, month - 1, number || 1, hours, minutes, seconds];
  const start = (date[7] ? Date.UTC(...parts) : new Date(...parts).getTime()) / 1000;
  const length = date[6] ? 1 : date[4] ? 60 : date[3] ? 86400 : 86400 * new Date(year, month, 0).getDate();
  return [start, start + length];
}

/** Return a condition as text. */
function conditionText(name, operator, value) {
  const quoted = /^[\w.:-]+$/.test(name) && !/^(not|and|or|in)$/i.test(name) ? name : JSON.stringify(name);
  return `${quoted} ${operator} ${valueLiteral(value)}`;
}

function valueLiteral(value) {
  if (typeof value !== "string") return typeof value === "number" ? String(value) : JSON.stringify(value);
  return /^[a-z_][\w.-]*$/i.test(value) && typeof parseValue(value) === "string" && !/^(not|and|or|in)$/i.test(value)
    ? value
    : JSON.stringify(value);
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
  const rows = items.map((item) => [item, keys.map(([find]) => find(item))]);
  const compare = (one, other) => {
    for (const [place, [, descending]] of keys.entries()) {
      const [left, right] = [one[1][place], other[1][place]];
      const [no, none] = [isMissing(left), isMissing(right)];
      if (no !== none) return no - none;
      const order = no ? 0 : compareValues(left, right);
      if (order) return descending ? -order : order;
    }
    return 0;
  };
  return rows.sort(compare).map(([item]) => item);
}

const isMissing = (value) => value === undefined || value === null || value !== value;

function compareValues(left, right) {
  if (typeof left !== typeof right) return ORDER[typeof left] - ORDER[typeof right];
  const [one, other] = typeof left === "object" ? [JSON.stringify(left), JSON.stringify(right)] : [left, right];
  return one < other ? -1 : one > other ? 1 : 0;
}
