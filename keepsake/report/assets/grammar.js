// The grammar of filters, as in keepsake/listing/grammar.py:
//
//     filter     = terms {"or" terms}
//     terms      = term {"and" term}
//     term       = "not" term | "(" filter ")" | comparison
//     comparison = name operator value | name ["not"] "in" "(" value {"," value} ")"

const OPERATOR = "==|!=|<=|>=|=|<|>";
const IN = "\\s+(?:not\\s+)?in\\s*\\(";
const JOIN = "\\s+(?:and|or)(?=[\\s()]|$)";
const FOREIGN_JOIN = `\\s(?:(?:&&|\\|\\|)\\s|[&|](?=(?:(?!${JOIN})[^&|])*(?:${OPERATOR}|${IN})))`;
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"';
const NAME_STOPS = new RegExp(`${OPERATOR}|${IN}|${JOIN}|[()]`, "gis");
const VALUE_STOPS = new RegExp(`${QUOTED}|[()]|${JOIN}|${FOREIGN_JOIN}`, "gis");
const ITEM_STOPS = new RegExp(`${QUOTED}|[()\\[\\]{},]`, "gis");
const MAX_NESTED = 50;

/** Parses a filter into {name, symbol, values}, {not} and {word, parts}. Throws an Error that says what is wrong. */
class FilterParser {
  constructor(text) {
    [this.text, this.at, this.depth] = [text, 0, 0];
  }

  parse() {
    const node = this.joined("or");
    if (this.at < this.text.length) this.fail('Expected "and", "or" or the end');
    return node;
  }

  joined(word) {
    const part = () => (word === "or" ? this.joined("and") : this.term());
    const parts = [part()];
    while (this.take(new RegExp(`${word}(?=[\\s()]|$)`, "iy"))) parts.push(part());
    return parts.length > 1 ? { word, parts } : parts[0];
  }

  term() {
    if (++this.depth > 2 * MAX_NESTED) this.fail("This is nested too deep");
    let node;
    if (this.take(new RegExp(`not(?=[\\s(])(?!\\s*(?:${OPERATOR}|in\\s*\\())`, "iy"))) {
      node = { not: this.term() };
    } else if (this.take(/\(/y)) {
      node = this.joined("or");
      if (!this.take(/\)/y)) this.fail(this.at < this.text.length ? 'Expected "and", "or" or ")"' : "A parenthesis is not closed");
    } else {
      node = this.comparison();
    }
    this.depth--;
    return node;
  }

  comparison() {
    if (/^\s*!(?!=)/.test(this.text.slice(this.at))) this.fail('Write "not"');
    const name = this.word(NAME_STOPS, "name").text;
    const among = this.take(/(not\s+)?in\s*\(/iy);
    if (among) return { name, symbol: among[1] ? "not in" : "in", values: this.items() };
    const symbol = this.take(new RegExp(OPERATOR, "y"))?.[0];
    if (!symbol) this.fail(`An operator is missing after the name "${plain(cut(name, 40))}"`);
    if (new RegExp(`^(?:!|\\s*(?:${OPERATOR}))`).test(this.text.slice(this.at))) this.fail("There is no such operator");
    return { name, symbol: symbol === "==" ? "=" : symbol, values: [this.value(symbol)] };
  }

  value(symbol) {
    if (/^\s*(?:and|or)[\s(]/i.test(this.text.slice(this.at))) this.fail("A value is missing");
    const value = this.word(VALUE_STOPS, "value");
    const second = value.isQuoted ? null : new RegExp(OPERATOR).exec(value.text);
    if (second && /[<>]/.test(symbol)) this.fail('A comparison has one operator. Join two by "and"');
    if (!value.isQuoted && /^.[&|]/s.test(this.text.slice(this.at))) this.fail('Write "and" or "or"');
    return value;
  }

  items() {
    const items = [];
    for (;;) {
      items.push(this.word(ITEM_STOPS, "value"));
      const next = this.take(/[,)]/y);
      if (!next) this.fail('Expected "," or ")"');
      if (next[0] === ")") return items;
    }
  }

  /** Read a name or a value, which goes up to one of the stops if it is not quoted: {text, isQuoted}. */
  word(stops, what) {
    this.take(/(?:)/y);
    const quoted = this.quoted();
    if (quoted !== null) return { text: quoted, isQuoted: true };
    const end = this.stop(stops);
    const text = this.text.slice(this.at, end).trimEnd();
    if (!text) this.fail(`A ${what} is missing`);
    this.at = end;
    return { text, isQuoted: false };
  }

  /** Return where a name or value that begins here ends. Parentheses and quotes within it are part of it. */
  stop(stops) {
    let depth = 0;
    stops.lastIndex = this.at;
    for (let found; (found = stops.exec(this.text)); ) {
      const first = found[0][0];
      if ("([{".includes(first)) depth++;
      else if (")]}".includes(first) && depth) depth--;
      else if (!'"]}'.includes(first) && !(first === "," && depth)) return found.index;
    }
    return this.text.length;
  }

  quoted() {
    const quote = this.text[this.at];
    if (quote !== '"' && quote !== "'") return null;
    const found = this.take(new RegExp(`${quote}((?:[^${quote}\\\\]|\\\\.)*)${quote}`, "sy"));
    if (!found) this.fail("A quotation mark is not closed");
    const inner = quote === "'" ? found[1].replaceAll("\\'", "'").replaceAll('"', '\\"') : found[1];
    try {
      return JSON.parse(`"${inner.replaceAll("\n", "\\n").replaceAll("\t", "\\t")}"`);
    } catch {
      return inner; // it has a literal backslash
    }
  }

  /** Go beyond blanks and a pattern, and return its match, if it comes next. */
  take(pattern) {
    while (/\s/.test(this.text[this.at] ?? "")) this.at++;
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  fail(reason) {
    const rest = plain(cut(this.text.slice(this.at), 40));
    throw new Error(`${reason}${rest ? `, before: ${rest}` : ""}. A filter is such as val_loss < 0.2 and not optimizer = adam.`);
  }
}
