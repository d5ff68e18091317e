"""Projects and runs made up from a seed: files, params, metrics and checkpoints of every kind.

They keep clear of what docs/compatibility.md lists: on them, both sides must agree to the letter.
"""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

Run = dict[str, Any]

DIRECTORIES = ["", "src/", "src/deep/er/still/", "data/", "weights/", "ünïcode/", "with space/", "日本/"]
STEMS = ["a", "train", "naïve", "модель", "very-long-" + "n" * 90, "x y", "dash-", "under_score", "UPPER", "10%", "q'uote", "é"]
SUFFIXES = ["", ".py", ".txt", ".bin", ".tar.gz", ".h5", ".log"]
WORDS = ["adam", "sgd", "relu", "cosine", "a longer text of more than twenty characters", "x=1", "été", "", " padded "]


class Generator:
    """What a seed stands for."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    # Files

    def project(self, directory: Path, files: int = 12) -> list[str]:
        """Write the files of a project; return their names."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "keepsake.yaml").write_text("repository: file://repo\n")
        names = ["train.py", "weights/model.bin", *(self._name() for _ in range(files))]
        for name in names:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content())
            path.chmod(self.random.choice([0o644, 0o644, 0o600, 0o755]))
        return sorted({*names, "keepsake.yaml"})

    def _name(self) -> str:
        parts = self.random.choice(DIRECTORIES), self.random.choice(STEMS), self.random.choice(SUFFIXES)
        return "{}{}-{}{}".format(*parts[:2], self.random.randrange(1000), parts[2])

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
        kinds = {"lr": "float", "layers": "int", "opt": "string", "debug": "bool", "extra": "object", "nothing": "none"}
        kinds |= {"with-dash": "float", "under_score": "int", "naïve": "string"}
        names = self.random.sample(sorted(kinds), self.random.randrange(2, len(kinds)))
        return {name: self.value(kinds[name]) for name in names}

    # Runs

    def runs(self, count: int, files: list[str] | None = None) -> list[Run]:
        """Runs, to be recorded by either library in a project that holds `files`."""
        return [self._run(files or []) for _ in range(count)]

    def _run(self, files: list[str]) -> Run:
        pick = self.random
        primary = pick.choice([None, ["loss", "minimize"], ["accuracy", "maximize"]])
        names = ["loss", "accuracy", "epochs", "note"][: pick.randrange(2, 5)]
        count = pick.choice([0, 1, 2, 3, 7])
        paths = [None, "train.py", "weights", "weights/model.bin", ".", pick.choice(files)] if files else [None]
        return {
            "path": pick.choice([None, ".", ".", "src"] if any(name.startswith("src/") for name in files) else [None]),
            "params": self.params(),
            "checkpoints": [
                {
                    "path": pick.choice(paths),
                    "step": pick.choice([None, number * 10]),
                    "metrics": self._metrics(names),
                    "primary_metric": primary,
                }
                for number in range(count)
            ],
        }

    def _metrics(self, names: list[str]) -> dict[str, Any]:
        kinds = {"loss": "float", "accuracy": "float", "epochs": "int", "note": "string"}
        metrics = {name: self.value(kinds[name]) for name in names}
        metrics["accuracy"] = self.random.choice([0.25, 0.5, 0.75, self.random.random()])
        return metrics

    # Records

    def identifier(self) -> str:
        """An ID."""
        return "".join(self.random.choices(string.hexdigits[:16], k=64))
