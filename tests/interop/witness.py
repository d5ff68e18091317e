"""A small repository made by the real Keepsake 0.4.2, kept under tests/data with what 0.4.2 says of it.

It bears witness on the day when 0.4.2 can no longer be installed. `python -m tests.interop.witness` makes it anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop import oracle, sides
from tests.interop.compare import lines, tree
from tests.interop.sides import Side

DIRECTORY = Path(__file__).parents[1] / "data" / f"keepsake-{oracle.VERSION}"
EXPECTED = "expected.json"
DAY = "2021-05-06"  # long ago, so that what is printed of it does not change

VALUES: dict[str, Any] = {
    "float": 0.1,
    "small": 1.5e-7,
    "integral": 1.0,
    "int": 12,
    "large": 2**53 + 1,
    "true": True,
    "none": None,
    "text": "été, 日本",
    "empty": "",
    "list": [1, 2.5, "x", None, [True]],
    "dict": {"b": 1, "a": {"c": "d"}},
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
}
FILES = {
    "train.py": "print('training')\n",
    "weights/model.bin": "weights " * 1000,
    "weights/deep/er/ünï code.txt": "été\n",
    "empty": "",
    "ignored.log": "x",
    ".keepsakeignore": "*.log\n",
}
LOSS = ["loss", "minimize"]
RUNS: list[dict[str, Any]] = [
    {"path": ".", "params": VALUES, "checkpoints": []},
    {
        "path": "train.py",
        "params": {"lr": 0.01, "opt": "adam"},
        "checkpoints": [
            {"path": "weights", "step": step, "metrics": {"loss": loss, "accuracy": step}, "primary_metric": LOSS}
            for step, loss in ((0, 0.75), (10, 0.25), (20, 0.5))
        ],
    },
    {"path": None, "params": None, "checkpoints": [{"metrics": {"loss": value}} for value in (0.5, 1e-7)]},
    {"path": None, "params": {"lr": 0.02, "opt": "sgd"}, "checkpoints": [{"path": "empty", "primary_metric": None}]},
]


def make(original: Side, directory: Path) -> None:
    """Let 0.4.2 record the runs, and write down what it says of them."""
    (directory / "keepsake.yaml").write_text("repository: file://repository\n")
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary)
        for name, text in FILES.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text, "utf-8")
        where = {"directory": str(project), "repository": "file://repository"}
        ids = original.record(runs=RUNS, **where)
        shutil.copytree(project / "repository", directory / "repository")
    for record in (directory / "repository/metadata/experiments").iterdir():
        text = re.sub(r'(?<="created": ")\d{4}-\d\d-\d\d', DAY, record.read_text("utf-8"))
        record.write_text(re.sub(r"file://[^\"]*", "file://repository", text), "utf-8")
    expected = {"ids": ids, "said": dict(said(original, directory, ids)), "library": listed(original, directory)}
    (directory / EXPECTED).write_text(json.dumps(expected, indent=1, ensure_ascii=False), "utf-8")


def commands(ids: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """What is asked of the command line."""
    yield from (("ls",), ("ls", "--all"), ("ls", "-q"), ("ls", "-q", "-f", "loss < 0.6"), ("ps",))
    yield from (("show", identifier) for run in ids[1:] for identifier in run)
    yield from (("diff", ids[1][0], ids[2][0]), ("diff", ids[1][1], ids[1][2]))
    yield from (("checkout", identifier) for identifier in (ids[0][0], ids[1][0], ids[1][1], ids[3][1]))


def said(side: Side, project: Path, ids: list[list[str]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each command with its exit status, the lines it prints, and the hashes of the files it checks out."""
    for command in commands(ids):
        with tempfile.TemporaryDirectory() as out:
            done = side.run(*command, *(["-o", out] if command[0] == "checkout" else []), cwd=project)
            files = {name: hashlib.sha256(content).hexdigest() for name, (content, _) in tree(Path(out)).items()}
        yield " ".join(command), [done.status, lines(done.stdout), files]


def listed(side: Side, project: Path) -> Any:
    """Return all experiments as the library has them."""
    return side.call("listed", directory=str(project), repository="file://repository")


if __name__ == "__main__":
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as home:
        real = sides.original(oracle.install(), Path(home))
        make(real, DIRECTORY)
        real.close()
