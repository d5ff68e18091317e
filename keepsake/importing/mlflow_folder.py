"""The folder store of MLflow, `mlruns/`.

    <experiment>/meta.yaml                    its name
    <experiment>/<run>/meta.yaml              times, status, user
    <experiment>/<run>/params/<key>           a text, which may have several lines
    <experiment>/<run>/tags/<key>             the same
    <experiment>/<run>/metrics/<key>          lines of "milliseconds value step …"; old files have no step
    <experiment>/<run>/artifacts/

A `/` in a key makes folders. MLflow's own reader takes lines of five words for step 0; the third word is the step.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from keepsake.exceptions import KeepsakeError, ReadError
from keepsake.importing import mlflow
from keepsake.importing.files import folders, open_file, read_small, walk_run
from keepsake.importing.found import Found
from keepsake.importing.runs import ForeignRun, typed

TOOL = "mlflow"
_META = "meta.yaml"
_BLOCK = 1 << 20  # bytes that are read at once; no line is longer
_NO_RUNS = ("tags", "datasets", "traces", "models", ".trash")  # folders beside the runs of an experiment


def recognise(source: Path) -> Path | None:
    """Return the folder store at `source` or in its folder `mlruns`; None if there is none."""
    for place in (source, source / "mlruns"):
        if place.is_dir() and (_is_run(place) or (_is_experiment(place) or any(map(_is_experiment, folders(place))))):
            return place
    return None


def runs(store: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    """Yield the runs of a store, or of one of its experiments, or a single run."""
    if _is_run(store):
        yield _found(str(store), "", store.parent)
        return
    if _is_experiment(store):
        yield from _runs_of(str(store), store.parent, left_out)
        return
    left_out["deleted experiments"] += len(folders(store / ".trash"))
    left_out["registered models"] += len(folders(store / "models"))
    for folder in folders(store):
        if _is_experiment(folder):
            yield from _runs_of(folder, store, left_out)


def _runs_of(folder: str, store: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    try:
        group = _text(_meta(folder), "name")
    except KeepsakeError as error:
        yield error
        return
    for name in ("datasets", "traces"):
        left_out[name] += len(folders(os.path.join(folder, name)))
    left_out["logged models"] += len(folders(os.path.join(folder, "models")))
    for place in folders(folder):
        if os.path.basename(place) not in _NO_RUNS and os.path.lexists(os.path.join(place, _META)):
            yield _found(place, group, store)


def _found(folder: str, group: str, store: Path) -> Found:
    return Found(Path(folder), partial(_run, folder, group, store), [folder], group)


def _run(folder: str, group: str, store: Path) -> ForeignRun:
    meta = _meta(folder)
    key = _text(meta, "run_id") or _text(meta, "run_uuid") or os.path.basename(folder)
    run = ForeignRun(TOOL, key, Path(folder), group=group, collection="experiment")
    if meta.get("lifecycle_stage") == "deleted":
        run.left_out["deleted runs"] += 1
        run.is_left_out = True
        return run
    run.params = {name: typed(value) for name, value in _texts(os.path.join(folder, "params"))}
    for name, entry in walk_run(os.path.join(folder, "metrics")):
        _read_metric(run, name, entry.path)
    run.created = _seconds(meta.get("start_time"))
    run.user = _text(meta, "user_id")
    run.name = _text(meta, "run_name")
    mlflow.end(run, meta.get("status"), meta.get("end_time"))
    mlflow.describe(run, dict(_texts(os.path.join(folder, "tags"))))
    mlflow.take_artifacts(run, Path(folder, "artifacts"), _text(meta, "artifact_uri"), store, store)
    for name in ("inputs", "outputs"):
        run.left_out[f"{name} (data sets and models)"] += len(folders(os.path.join(folder, name)))
    return run


def _read_metric(run: ForeignRun, name: str, path: str) -> None:
    """Add the points of a metric. A last line without an end was cut off."""
    rest, number = b"", 1
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            if not _add_usual(run, name, lines):
                for offset, line in enumerate(lines):
                    _add_line(run, name, line, f"Line {number + offset} of {path}")
            number += len(lines)
            if len(rest) > _BLOCK:
                run.warnings.append(f"Line {number} of {path} does not end. What follows is left out.")
                return
    if rest:
        run.warnings.append(f"The last line of {path} is cut off. It is left out.")


def _add_usual(run: ForeignRun, name: str, lines: list[bytes]) -> bool:
    """Add lines of three words each, all at once; return whether they are that."""
    rows = list(map(bytes.split, lines))
    if set(map(len, rows)) != {3}:
        return False
    times, values, steps = zip(*rows, strict=True)
    try:
        seconds = [int(time) / 1000 for time in times]
        run.extend(name, list(map(int, steps)), seconds, list(map(float, values)))
    except (ValueError, OverflowError):
        return False
    return True


def _add_line(run: ForeignRun, name: str, line: bytes, what: str) -> None:
    words = line.split()
    try:
        step = int(words[2]) if len(words) > 2 else 0
        run.add(name, step, int(words[0]) / 1000, float(words[1]))
    except (ValueError, IndexError, OverflowError):
        if words:
            run.warnings.append(f"{what} is damaged. It is left out.")


def _texts(folder: str) -> Iterator[tuple[str, str]]:
    for name, entry in walk_run(folder):
        yield name, read_small(entry.path).decode("utf-8", "replace")


def _meta(folder: str | Path) -> dict[str, Any]:
    import yaml

    path = os.path.join(folder, _META)
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as quick, where libyaml is there
        found = yaml.load(read_small(path), Loader=loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ReadError(f"{path} is damaged. Restore it, or remove its folder.") from error
    if not isinstance(found, dict):
        raise ReadError(f"{path} is empty or damaged. Restore it, or remove its folder.")
    return found


def _text(meta: dict[str, Any], name: str) -> str:
    """Return a text; "" if it is missing. Lists are none: their text may be endless, because YAML has references."""
    value = meta.get(name)
    return str(value) if isinstance(value, (str, int, float)) else ""


def _seconds(milliseconds: object) -> float | None:
    is_time = isinstance(milliseconds, (int, float)) and math.isfinite(milliseconds)
    return float(milliseconds) / 1000 if is_time else None  # type: ignore[arg-type]


def _is_run(folder: str | Path) -> bool:
    return os.path.isfile(os.path.join(folder, _META)) and (
        os.path.isdir(os.path.join(folder, "metrics")) or os.path.isdir(os.path.join(folder, "params"))
    )


def _is_experiment(folder: str | Path) -> bool:
    if not os.path.isfile(os.path.join(folder, _META)) or _is_run(folder):
        return False
    with open(os.path.join(folder, _META), "rb") as file:
        return b"experiment_id" in file.read(1 << 16)
