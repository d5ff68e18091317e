// The code of runs, and what differs in it between two of them.

const LINES = 5000; // of a file's differences that are shown
const PATIENCE = 1500; // milliseconds for the differences of one file

const filesOf = remembered((number) => {
  const own = meta.code.runs[number];
  if (typeof own === "string") return own;
  const files = Array.from(decodeIntegers(own), (place) => meta.code.files[place]);
  return new Map(files.map(([name, size, content, hash]) => [name, { name, size, content, hash }]));
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

const lines = (text) => text.split("\n").map(plain).join("\n");
const fileRow = (name, about) => h("div", { class: "file" }, plain(name), faint(about));

/** List the files that a run saved when it began. A click shows one. */
function showFiles(box, run) {
  const files = filesOf(run.number);
  if (typeof files === "string") return box.append(h("p", { class: "faint" }, plain(files)));
  const items = [...files.values()].sort((one, other) => (one.name < other.name ? -1 : 1)).map(fileItem);
  return box.append(h("div", { class: "files" }, items));
}

function fileItem(file) {
  if (file.content === null) return fileRow(file.name, bytes(file.size));
  const box = h("pre");
  const open = async ({ target }) => {
    if (target.open && !box.textContent) box.textContent = lines(await contentText(file.content));
  };
  return h("details", { class: "file", toggle: open }, h("summary", {}, plain(file.name), faint(bytes(file.size))), box);
}

/** Return what differs in the code of two runs: [name, one or undefined, other or undefined]; a text says why not. */
function changedFiles(one, other) {
  const [left, right] = [filesOf(one.number), filesOf(other.number)];
  for (const files of [left, right]) if (typeof files === "string") return files;
  const differ = (a, b) => !a || !b || a.size !== b.size || a.hash !== b.hash;
  const names = [...new Set([...left.keys(), ...right.keys()])].sort();
  return names.filter((name) => differ(left.get(name), right.get(name))).map((name) => [name, left.get(name), right.get(name)]);
}

/** Say what `changedFiles` found. */
function aboutCode(changed) {
  if (typeof changed === "string") return plain(changed);
  const some = changed.slice(0, 3).map(([name]) => plain(name)).join(", ");
  return changed.length ? `Code differs: ${some}${changed.length > 3 ? ` and ${changed.length - 3} more` : ""}` : "The code is the same";
}

async function showDiff(box, one, other) {
  const changed = changedFiles(one, other);
  box.replaceChildren(h("p", { class: "faint" }, aboutCode(changed)));
  if (typeof changed === "string" || !changed.length) return;
  await (showDiff.library ??= runScript("diff"));
  for (const [name, left, right] of changed) box.append(await fileDiff(name, left, right));
}

async function fileDiff(name, left, right) {
  const sizes = [left, right].map((file) => (file ? bytes(file.size) : "none")).join(" → ");
  if (left?.content === null || right?.content === null) return fileRow(name, `${sizes}, not shown: binary, large or left out`);
  const [before, after] = await Promise.all([left, right].map((file) => (file ? contentText(file.content) : "")));
  const patch = Diff.structuredPatch(name, name, before, after, "", "", { context: 3, timeout: PATIENCE });
  if (!patch) return fileRow(name, `${sizes}, too different to compare here`);
  const found = patch.hunks.flatMap(hunkLines);
  const count = (kind) => found.filter((line) => line.kind === kind).length;
  const what = !left ? "added" : !right ? "removed" : "";
  const head = h("summary", {}, plain(name), faint(what), h("span", { class: "added" }, `+${count("added")}`), h("span", { class: "removed" }, `−${count("removed")}`));
  return h("details", { class: "file", open: true }, head, diffTable(found));
}

/** Return the lines of a hunk: {kind, before, after, text}. */
function hunkLines(hunk) {
  let [before, after] = [hunk.oldStart, hunk.newStart];
  const found = [{ kind: "gap", text: `lines ${before} and ${after}` }];
  for (const line of hunk.lines) {
    const kind = { "+": "added", "-": "removed", " ": "same" }[line[0]] ?? "gap";
    found.push({ kind, before: ["removed", "same"].includes(kind) ? before++ : "", after: ["added", "same"].includes(kind) ? after++ : "", text: line.slice(1) });
  }
  return found;
}

function diffTable(found) {
  const row = ({ kind, before, after, text }) => h("tr", { class: kind }, [before, after, text].map((part) => h("td", {}, plain(part ?? ""))));
  const rest = { kind: "gap", text: `… and ${(found.length - LINES).toLocaleString("en-US")} more lines` };
  return h("table", { class: "diff" }, h("tbody", {}, found.slice(0, LINES).map(row), found.length > LINES && row(rest)));
}
