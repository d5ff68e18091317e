"""Whether two outputs, or two directories, are the same."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.interop.sides import Done, Side

_ATTEMPTS = 4
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.?(\d*?)0*Z")
_ADDED_FIELDS = {
    "status",
    "ended",
    "end_reason",
    "error",
    "traceback",
    "output",
    "environment",
    "name",
    "tags",
    "notes",
    "parent",
    "launch",
    "keep",
}


def lines(text: str) -> list[str]:
    """Return the lines without trailing spaces."""
    return [line.rstrip() for line in text.splitlines()]


# What a listed difference may do to an output is taken away from both sides; by its ID


def _without_alignment(text: str) -> str:
    return re.sub(r"(?<=\S)  +", "  ", text)


def _without_end(text: str) -> str:
    return re.sub(r"^Ended: .*\n", "", text, flags=re.MULTILINE)


def _without_environment(text: str) -> str:
    return re.sub(r"^(OS|CPU|GPU|Git \w+): .*\n", "", text, flags=re.MULTILINE)


def _without_files(text: str) -> str:
    return re.sub(r"^Files\n.*", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items()} or None
    if isinstance(value, list):
        return [_without_nulls(item) for item in value] or None
    return _TIME.sub(r"\1.\2Z", value) if isinstance(value, str) else value


def _without_added_fields(value: Any) -> Any:
    if isinstance(value, list):  # `ls` prints a list of experiments
        return [_without_added_fields(item) for item in value]
    if isinstance(value, dict):
        return {name: item for name, item in value.items() if name not in _ADDED_FIELDS}
    return value


_IN_TEXT: dict[str, Callable[[str], str]] = {
    "diff-files": _without_files,
    "show-alignment": _without_alignment,
    "show-ended": _without_end,
    "show-environment": _without_environment,
}
_IN_JSON: dict[str, Callable[[Any], Any]] = {"ls-json-null": _without_nulls, "added-fields": _without_added_fields}
TOLERATED = {*_IN_TEXT, *_IN_JSON, "created-microseconds"}


def _comparable(text: str, tolerating: tuple[str, ...], *, is_json: bool) -> Any:
    assert set(tolerating) <= TOLERATED
    for tolerance in tolerating:
        text = _IN_TEXT.get(tolerance, str)(text)
    if not is_json:
        return lines(text)
    value = json.loads(text) if text else None
    for tolerance in tolerating:
        value = _IN_JSON.get(tolerance, lambda same: same)(value)
    return value


@dataclass(frozen=True)
class Both:
    """The two sides, to be given the same command."""

    original: Side
    ours: Side

    def agree(
        self, *args: str, cwd: Path, our_cwd: Path | None = None, answer: str = "", tolerating: tuple[str, ...] = ()
    ) -> Done:
        """Assert that a command prints the same on stdout and ends with the same status; return what ours did.

        With `--json`, values are compared. As time passes ("2 seconds ago"), a difference must show repeatedly.
        """
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt * 0.3)
            done = self.run(*args, cwd=cwd, our_cwd=our_cwd, answer=answer)
            found = [(each.status, _comparable(each.stdout, tolerating, is_json="--json" in args)) for each in done]
            if found[0] == found[1]:
                return done[1]
        raise AssertionError(_explain(args, done, found))

    def run(self, *args: str, cwd: Path, our_cwd: Path | None = None, answer: str = "") -> tuple[Done, Done]:
        """Run a command on both sides; return what 0.4.2 did, and what ours did."""
        return self.original.run(*args, cwd=cwd, answer=answer), self.ours.run(*args, cwd=our_cwd or cwd, answer=answer)

    def call(self, function: str, **arguments: Any) -> Any:
        """Call a function of driver.py on both sides, assert that both return the same, and return it.

        Tolerates created-microseconds.
        """
        theirs, ours = (side.call(function, **arguments) for side in (self.original, self.ours))
        assert_same(ours, theirs, function)
        return ours


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Assert that what the libraries say is the same, but for created-microseconds."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for name in ours:
            assert_same(ours[name], theirs[name], f"{where}, {name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}, {number}")
    elif where.endswith((", created", ", duration")) and ours and theirs:
        assert abs(_seconds(ours) - _seconds(theirs)) < 2.5e-6, where
    else:
        assert (type(ours), repr(ours)) == (type(theirs), repr(theirs)), where  # NaN is NaN, and 1 is not 1.0


def _seconds(value: str | float) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value


def _explain(args: tuple[str, ...], done: tuple[Done, Done], found: list[tuple[int, Any]]) -> str:
    texts = [json.dumps(value, indent=1).splitlines() if "--json" in args else value for _, value in found]
    theirs, ours = (list(map(str, text)) for text in texts)
    names = f"0.4.2: exit {done[0].status}", f"ours: exit {done[1].status}"
    change = difflib.unified_diff(theirs, ours, *names, lineterm="")
    return "\n".join([f"keepsake {' '.join(args)}", *change, "stderr:", *(each.stderr[-2000:] for each in done)])


# Files

Tree = dict[str, tuple[bytes, int]]  # name → content, permission bits


def tree(directory: Path) -> Tree:
    """Return all files below a directory, without what either side keeps of its own in .keepsake."""
    return {
        path.relative_to(directory).as_posix(): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).parts[0] != ".keepsake"
    }


def contents(files: Tree) -> dict[str, bytes]:
    """Return the files without their permissions."""
    return {name: content for name, (content, _) in files.items()}


def check_out(both: Both, project: Path, out: Path, *args: str) -> Tree:
    """Check out into fresh directories with both command lines; return what came, which must be the same."""
    trees = []
    for side in (both.original, both.ours):
        done = side.run("checkout", *args, "-o", str(out / side.name), cwd=project)
        assert (done.status, done.stdout) == (0, ""), done.stderr
        trees.append(tree(out / side.name))
    assert trees[1] == trees[0]
    return trees[1]
