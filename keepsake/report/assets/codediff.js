// The code of runs, and what differs in it between two of them.

const LINES = 2000; // of a file's differences that are shown at first
const PATIENCE = 1500; // milliseconds for the differences of one file

const filesOf = remembered((number) => {
  const own = meta.code.runs[number];
  if (typeof own === "string") return own;
  return new Map(decodeIntegers(own).map((place) => meta.code.files[place]).map(([name, size, content, hash]) => [name, { name, size, content, hash }]));
});

let contents = null;

/** Return the text of a content; the code is unpacked when it is first needed. */
async function contentText(number) {
  contents ??= unpack("code").then((bytes) => {
    let offset = 0;
    return meta.code.lengths.map((length) => bytes.subarray(offset, (offset += length)));
  });
  return new TextDecoder().decode((await contents)[number]);
}

function bytes(size) {
  return size < 1000 ? `${size} B` : size < 1e6 ? `${(size / 1000).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

/** List the files that a run saved when it began. A click shows one. */
function showFiles(box, run) {
  const files = filesOf(run.number);
  if (typeof files === "string") {
    box.replaceChildren(h("p", { class: "faint" }, plain(files)));
    return;
  }
  const best = view.best && view.best !== run && typeof filesOf(view.best.number) !== "string";
  const compare = best && h("button", { click: () => set({ ticked: joined([view.best.id, run.id]), compare: "1", open: "" }) }, `Compare with the best, ${plain(view.best.short)}`);
  const items = [...files.values()].sort((one, other) => (one.name < other.name ? -1 : 1)).map((file) => fileItem(file));
  box.replaceChildren(...[compare, h("div", { class: "files" }, items)].filter(Boolean));
}

function fileItem(file) {
  const about = h("span", { class: "faint" }, bytes(file.size));
  if (file.content === null) return h("div", { class: "file" }, plain(file.name), about);
  const box = h("pre", {});
  const open = async (event) => {
    if (event.target.open && !box.textContent) box.textContent = (await contentText(file.content)).split("\n").map(plain).join("\n");
  };
  return h("details", { class: "file", toggle: open }, h("summary", {}, plain(file.name), about), box);
}

/** Return pairs of files of two runs that differ: [name, one or undefined, other or undefined]. */
function changedFiles(one, other) {
  const [left, right] = [filesOf(one.number), filesOf(other.number)];
  if (typeof left === "string" || typeof right === "string") return null;
  const names = [...new Set([...left.keys(), ...right.keys()])].sort();
  const differ = (a, b) => !a || !b || a.size !== b.size || a.hash !== b.hash;
  return names.filter((name) => differ(left.get(name), right.get(name))).map((name) => [name, left.get(name), right.get(name)]);
}

async function showDiff(box, one, other) {
  const changed = changedFiles(one, other);
  if (changed === null) {
    const problem = [one, other].map((run) => filesOf(run.number)).find((files) => typeof files === "string");
    box.replaceChildren(h("p", { class: "faint" }, plain(problem)));
    return;
  }
  if (!changed.length) {
    box.replaceChildren(h("p", { class: "faint" }, "The code is the same."));
    return;
  }
  box.replaceChildren(h("p", { class: "faint" }, `${counted(changed.length, "file")} ${changed.length === 1 ? "differs" : "differ"}, from ${plain(one.short)} to ${plain(other.short)}.`));
  for (const [name, left, right] of changed) box.append(await fileDiff(name, left, right));
}

async function fileDiff(name, left, right) {
  const sizes = [left, right].map((file) => (file ? bytes(file.size) : "none")).join(" → ");
  if ([left, right].some((file) => file && file.content === null)) {
    return h("div", { class: "file" }, plain(name), h("span", { class: "faint" }, `${sizes}, not shown: binary, large or left out`));
  }
  const [before, after] = await Promise.all([left, right].map((file) => (file ? contentText(file.content) : "")));
  const patch = Diff.structuredPatch(name, name, before, after, "", "", { context: 3, timeout: PATIENCE });
  if (!patch) return h("div", { class: "file" }, plain(name), h("span", { class: "faint" }, `${sizes}, too different to compare here`));
  const lines = patch.hunks.flatMap((hunk) => hunkLines(hunk));
  const count = (kind) => lines.filter((line) => line.kind === kind).length;
  const what = !left ? "added" : !right ? "removed" : "";
  const head = h("summary", {}, plain(name), h("span", { class: "faint" }, what), h("span", { class: "added" }, `+${count("added")}`), h("span", { class: "removed" }, `−${count("removed")}`));
  return h("details", { class: "file", open: true }, head, diffTable(lines));
}

/** Return the lines of a hunk: {kind, before, after, text}. */
function hunkLines(hunk) {
  let [before, after] = [hunk.oldStart, hunk.newStart];
  const lines = [{ kind: "gap", text: `lines ${hunk.oldStart} and ${hunk.newStart}` }];
  for (const line of hunk.lines) {
    const kind = { "+": "added", "-": "removed", " ": "same" }[line[0]] ?? "gap";
    lines.push({ kind, before: kind === "added" || kind === "gap" ? "" : before++, after: kind === "removed" || kind === "gap" ? "" : after++, text: line.slice(1) });
  }
  return lines;
}

function diffTable(lines) {
  const row = ({ kind, before, after, text }) => h("tr", { class: kind }, h("td", {}, String(before ?? "")), h("td", {}, String(after ?? "")), h("td", {}, plain(text)));
  const body = h("tbody", {}, lines.slice(0, LINES).map(row));
  const table = h("table", { class: "diff" }, body);
  if (lines.length <= LINES) return table;
  const more = (event) => {
    event.target.remove();
    body.append(...lines.slice(LINES).map(row));
  };
  return h("div", {}, table, h("button", { click: more }, `Show ${(lines.length - LINES).toLocaleString("en-US")} more lines`));
}
