"""Projects, runs and records made up from a seed: files, params, metrics and checkpoints of every kind.

They keep clear of what docs/compatibility.md lists: on them, both sides must agree to the letter.
"""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

from tests.interop import records
from tests.interop.records import Record

Run = dict[str, Any]

DIRECTORIES = ["", "src/", "src/deep/er/still/", "data/", "weights/", "ünïcode/", "with space/", "日本/"]
STEMS = ["a", "naïve", "модель", "long-" + "n" * 120, "x y", "dash-", "under_score", "UPPER", "10%", "q'uote", "[x]"]
SUFFIXES = ["", ".py", ".txt", ".bin", ".tar.gz", ".h5", ".log"]
WORDS = ["adam", "sgd", "relu", "cosine", "a longer text of more than twenty characters", "x=1", "été", "", " padded "]
MINUTE, HOUR, DAY = 60, 3600, 86400
# Where a word does not change while both look; the last ones are shown as dates
AGES = [
    70,
    5 * MINUTE,
    40 * MINUTE,
    HOUR + MINUTE,
    5 * HOUR,
    20 * HOUR,
    30 * HOUR,
    2 * DAY,
    3 * DAY,
    4 * DAY,
    900 * DAY,
]
KINDS = {
    "lr": "float",
    "with-dash": "float",
    "with blank": "float",
    "layers": "int",
    "under_score": "int",
    "opt": "string",
    "naïve": "string",
    "debug": "bool",
    "extra": "object",
    "nothing": "none",
}
METRIC_KINDS = {"loss": "float", "accuracy": "float", "epochs": "int", "note": "string"}
COUNTS = [0, 1, 2, 3, 6]  # of checkpoints: with more, which of equals is best is chance in 0.4.2
GOALS = [None, {"name": "loss", "goal": "minimize"}, {"name": "accuracy", "goal": "maximize"}]


class Generator:
    """What a seed stands for."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    # Files

    def project(self, directory: Path, files: int = 12) -> list[str]:
        """Write the files of a project; return their names."""
        directory.mkdir(parents=True, exist_ok=True)
        names = ["train.py", "weights/model.bin", *(self._name() for _ in range(files))]
        for name in names:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content())
            path.chmod(self.random.choice([0o644, 0o600, 0o755]))
        return sorted({*names, "keepsake.yaml"})

    def _name(self) -> str:
        directory, stem, suffix = (self.random.choice(parts) for parts in (DIRECTORIES, STEMS, SUFFIXES))
        return f"{directory}{stem}-{self.random.randrange(1000)}{suffix}"

    def content(self, size: int | None = None) -> bytes:
        """Bytes that shrink well, or not at all."""
        if size is None:
            size = self.random.choice([0, 1, 100, 511, 512, 513, 5_000, 100_000])
        if self.random.random() < 0.5:
            return self.random.randbytes(size)
        return (b"a line of some text, " * (size // 20 + 1))[:size]

    # Values

    def value(self, kind: str) -> Any:
        """A value of a kind."""
        pick = self.random
        if kind == "float":
            return pick.choice([pick.uniform(-1, 1), pick.uniform(0, 99_999), 10 ** pick.uniform(-9, -1), 1.5e-7])
        if kind == "int":
            return pick.choice([0, 1, -1, 12, 100_000, 123_456_789, 2**53 + 1, -(2**62), pick.randrange(1000)])
        if kind == "bool":
            return pick.random() < 0.5
        if kind == "string":
            return pick.choice(WORDS)
        if kind == "object":
            return pick.choice([[1, 2.5, "x", None, True], {"b": [1], "a": {"c": "d"}}, [], {}, [[1, 2], [3, 4]]])
        return None

    def params(self) -> dict[str, Any] | None:
        """Params; a name has values of one kind in all experiments."""
        if self.random.random() < 0.1:
            return None
        names = self.random.sample(sorted(KINDS), self.random.randrange(2, len(KINDS)))
        return {name: self.value(KINDS[name]) for name in names}

    def metrics(self, names: list[str]) -> dict[str, Any]:
        """Metrics; often two checkpoints have the same accuracy."""
        metrics = {name: self.value(METRIC_KINDS[name]) for name in names}
        return metrics | {"accuracy": self.random.choice([0.25, 0.5, 0.75, self.random.random()])}

    # Runs, to be recorded with a library

    def runs(self, count: int, files: list[str]) -> list[Run]:
        """Runs in a project that holds `files`."""
        return [self._run(files) for _ in range(count)]

    def _run(self, files: list[str]) -> Run:
        pick = self.random
        primary = pick.choice(GOALS)
        names = list(METRIC_KINDS)[: pick.randrange(2, 5)]
        paths = [None, "train.py", "weights", "weights/model.bin", ".", pick.choice(files)]
        checkpoints = [
            {
                "path": pick.choice(paths),
                "step": pick.choice([None, number * 10]),
                "metrics": self.metrics(names),
                "primary_metric": primary and list(primary.values()),
            }
            for number in range(pick.choice(COUNTS))
        ]
        return {"path": pick.choice([None, ".", "weights/"]), "params": self.params(), "checkpoints": checkpoints}

    # Records, to be written straight into a repository

    def records(self, count: int) -> list[Record]:
        """Experiments of all ages and sizes."""
        return [self._record(number, age) for number, age in enumerate(self.random.sample(AGES, count))]

    def _record(self, number: int, age: float) -> Record:
        pick = self.random
        primary = pick.choice(GOALS)
        names = list(METRIC_KINDS)[: pick.randrange(2, 5)]
        checkpoints = [
            records.checkpoint(
                place,
                id=self.identifier(),
                created=records.ago(age - place),
                metrics=self.metrics(names),
                step=pick.choice([place, place * 100]),
                path=pick.choice(["", "weights", "model.bin"]),
                primary_metric=primary,
            )
            for place in range(pick.choice(COUNTS))
        ]
        return records.experiment(
            number,
            *checkpoints,
            id=self.identifier(),
            created=records.ago(age),
            params=self.params(),
            host=pick.choice(["", "10.1.1.1", "node-7"]),
            user=pick.choice(["kim", "johanna"]),
            command=pick.choice(["train.py", "train.py --lr 0.1 'a b'", ""]),
            path=pick.choice(["", ".", "src"]),
            python_packages=pick.choice([None, {"torch": "1.9.0"}, {"numpy": "1.20.1", "tqdm": "4", "pandas": "1.1"}]),
            python_version=pick.choice(["", "3.8.5"]),
        )

    def identifier(self) -> str:
        """An ID."""
        return "".join(self.random.choices(string.hexdigits[:16], k=64))

    # Filters and sort keys

    def filters(self) -> list[str]:
        """Filters whose values are of the params' and metrics' types."""
        return [
            f"lr {self._operator()} {self.random.choice(['0.5', '-0.001', '1.5e-7'])}",
            f"layers{self._operator()}{self.random.choice(['0', '12', '-5'])}",
            f"opt {self.random.choice(['=', '!='])} {self.random.choice(WORDS[:4])}",
            f"debug = {self.random.choice(['true', 'false'])}",
            f"accuracy {self._operator()} 0.5",
            f"loss {self._operator()} 0.25",
            f"with blank {self._operator()} 0.1",
            f"step {self._operator()} 200",
            f"{self.random.choice(['lr', 'nothing'])} {self._operator()} null",
            f"opt {self._operator()} None",
            self.random.choice(["user = kim", "host != 10.1.1.1", "command = train.py", "host = node-7"]),
            self.random.choice(["status = running", "status = stopped", "status != running"]),
            f"created {self.random.choice(['<', '>'])} 2024-05-06",
        ]

    def _operator(self) -> str:
        return self.random.choice(["=", "!=", "<", "<=", ">", ">="])

    def sort_keys(self, found: list[Record]) -> list[str]:
        """Sort keys that no experiment lacks, and none shares with another."""
        keys = ["created", "created-asc", "created-desc"]
        values = [record["params"] or {} for record in found]
        for name in KINDS:
            texts = {repr(each.get(name)) for each in values}
            if KINDS[name] in ("float", "int", "string") and len(texts) == len(found) and repr(None) not in texts:
                keys += [name, f"{name}-desc"]
        return keys
