"""Workloads of a training script: starting, recording, ending."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.measure import FLOOR, ORIGINAL, Bench, Keepsake, Run, run
from benchmarks.repositories import text, weights
from benchmarks.results import Figure, Limit, figure

MB = 10**6
_INSTANT = 0.5  # seconds; the original's init() takes far less or, by a race, more than one


def import_time(bench: Bench) -> list[Figure]:
    """`import keepsake`, beyond bare Python"""

    def measured(keepsake: Keepsake) -> float:
        loaded, bare = (keepsake.program(bench.work, name) for name in ("load", "bare"))
        return loaded.seconds - bare.seconds

    runs = bench.interleave(21, measured, lambda: bench.ours.program(bench.work, "bare").seconds)
    return [figure("import", "beyond bare Python", runs, float, Limit(0.2, ORIGINAL))]


def init(bench: Bench) -> list[Figure]:
    """init() without files"""
    runs = bench.interleave(15, lambda keepsake: bench.in_project(partial(_program, keepsake, "init")))
    blocking = figure("init()", "blocks", runs, _said("seconds"), Limit(0.15, ORIGINAL), Limit(plus=0.02))
    if ORIGINAL in runs:  # its fast case
        slow = blocking.samples[ORIGINAL]
        blocking.samples[ORIGINAL] = [seconds for seconds in slow if seconds < _INSTANT] or slow
    return [blocking]


def init_files(bench: Bench) -> list[Figure]:
    """init(path=".") with 1,000 small files"""

    def measured(keepsake: Keepsake, project: Path) -> Run:
        for number in range(1000):
            file = project / f"package{number // 50}/module{number}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"value = {number}\n" * 200)
        done = keepsake.program(project, "init", ".")
        _check(project, "experiments", 20_000)
        return done

    runs = bench.interleave(5, lambda keepsake: bench.in_project(partial(measured, keepsake)))
    return [
        figure("init(path='.'), 1,000 files", "blocks", runs, _said("seconds"), Limit(0.1, ORIGINAL)),
        figure("", "CPU time of the program", runs, _cpu),
    ]


def metrics(bench: Bench) -> list[Figure]:
    """checkpoint() with metrics only, call upon call and with 5 ms of work between"""
    figures = []
    for title, pause, calls in (("back to back", 0.0, 10_000), ("every 5 ms", 0.005, 10_000 if bench.full else 2_000)):

        def measured(keepsake: Keepsake, calls: int = calls, pause: float = pause) -> Run:
            count = calls if keepsake is bench.ours else 1_000 if bench.full else 300
            return bench.in_project(lambda project: keepsake.program(project, "metrics", str(count), str(pause)))

        runs = bench.interleave(3, measured, warm=False)
        figures += [
            figure(f"metrics-only, {title}", "median", runs, _said("median"), Limit(plus=1e-4)),
            figure("", "99th percentile", runs, _said("p99"), Limit(plus=1e-3)),
            figure("", "last calls / first", runs, _said("growth"), Limit(plus=1.5), unit="×"),
        ]
    return figures


def checkpoint(bench: Bench, size: int) -> list[Figure]:
    """checkpoint() of a file of weights, and cp of it"""
    model = weights(size)

    def measured(keepsake: Keepsake, project: Path) -> Run:
        shutil.copy(model, project / "model.bin")
        done = keepsake.program(project, "checkpoint", "model.bin")
        _check(project, "checkpoints", size // 2)
        return done

    def copied(project: Path) -> Run:
        shutil.copy(model, project / "model.bin")
        return run(["cp", "model.bin", "copy.bin"], project, {})

    runs = bench.interleave(
        (15 if bench.full else 7) if size <= MB else 5 if bench.full or size < 1000 * MB else 3,
        lambda keepsake: bench.in_project(partial(measured, keepsake)),
        lambda: bench.in_project(copied),
        warm=size <= MB,
    )
    blocking = figure(f"checkpoint() of {size // MB:,} MB", "blocks", runs, _blocking, Limit(1.2, FLOOR, 0.002))
    del runs[FLOOR]
    return [
        blocking,
        figure("", "durable", runs, _durable, Limit(0.5, ORIGINAL)),
        figure("", "CPU time of the program", runs, _cpu, Limit(0.6, ORIGINAL)),
        figure("", "memory", runs, lambda done: done.memory, Limit(plus=100 * MB), unit="B"),
    ]


def compressible(bench: Bench) -> list[Figure]:
    """checkpoint() of 100 MB of text"""
    model = text(100 * MB)

    def measured(keepsake: Keepsake, project: Path) -> tuple[Run, int]:
        shutil.copy(model, project / "table.csv")
        done = keepsake.program(project, "checkpoint", "table.csv")
        return done, _check(project, "checkpoints", 10 * MB)

    runs = bench.interleave(3, lambda keepsake: bench.in_project(partial(measured, keepsake)), warm=False)
    return [
        figure("checkpoint() of 100 MB of text", "durable", runs, lambda item: _durable(item[0]), Limit(0.5, ORIGINAL)),
        figure("", "archive", runs, lambda item: item[1], Limit(1.2, ORIGINAL), unit="B"),
    ]


def leave(bench: Bench) -> list[Figure]:
    """The end of a program with nothing left to save"""

    def measured(keepsake: Keepsake) -> Run:
        return bench.in_project(partial(_program, keepsake, "idle"))

    runs = bench.interleave(5, measured, lambda: bench.ours.program(bench.work, "bare"), warm=False)
    return [figure("exit, nothing pending", "", runs, lambda done: done.ended - done.said["end"], Limit(0.4, ORIGINAL))]


def _program(keepsake: Keepsake, name: str, project: Path) -> Run:
    return keepsake.program(project, name)


def _check(project: Path, kind: str, least: int) -> int:
    """Return the size of the only archive of a kind; one that is not there, or too small, is no result."""
    (archive,) = (project / "repo" / kind).iterdir()
    if archive.stat().st_size < least:
        raise RuntimeError(f"{archive} has only {archive.stat().st_size} bytes")
    return archive.stat().st_size


def _said(name: str) -> Callable[[Run], float]:
    return lambda done: done.said[name]


def _cpu(done: Run) -> float:
    return done.cpu


def _blocking(done: Run) -> float:
    return done.said["seconds"] if done.output else done.seconds


def _durable(done: Run) -> float:
    """From the call of checkpoint() until the last process has ended."""
    return done.settled - done.said["start"]
