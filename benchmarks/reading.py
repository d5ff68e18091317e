"""Workloads of the command line and of a notebook: listing, showing, restoring."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

from benchmarks.measure import FLOOR, ORIGINAL, OURS, Bench, Keepsake, Run
from benchmarks.repositories import ids, repository, weights
from benchmarks.results import Figure, Limit, figure

GB, MB = 10**9, 10**6
_FILTER = ("--filter", "loss < 0.001")


def usage(bench: Bench) -> list[Figure]:
    """keepsake --help"""
    runs = bench.interleave(
        15, lambda keepsake: keepsake.command(bench.work, "--help"), lambda: bench.ours.program(bench.work, "bare")
    )
    return [figure("keepsake --help", "", runs, _seconds, Limit(plus=0.12))]


def listing(bench: Bench) -> list[Figure]:
    """keepsake ls of 1,000 × 100, ls -q and ls --filter of 10,000 × 10, cold and warm; the whole table of 10,000"""
    deep, wide = repository(1_000, 100), repository(10_000, 10)
    figures = []
    for title, project, arguments in (
        ("ls, 1,000 × 100", deep, ()),
        ("ls -q, 10,000 × 10", wide, ("-q",)),
        ("ls --filter, 10,000 × 10", wide, _FILTER),
    ):
        cold = partial(_command, bench, project, ["ls", *arguments], cold=True)
        warm = partial(_command, bench, project, ["ls", *arguments])
        figures += [
            figure(title, "cold", _same(bench.interleave(3, cold, warm=False)), _seconds, Limit(0.2, ORIGINAL)),
            figure("", "warm", _same(bench.interleave(7, warm)), _seconds, Limit(0.08, ORIGINAL)),
        ]
    whole = _same(bench.interleave(3, partial(_command, bench, wide, ["ls"])))
    return [*figures, figure("ls, 10,000 × 10", "warm", whole, _seconds, Limit(0.35, ORIGINAL))]


def show(bench: Bench) -> list[Figure]:
    """keepsake show of a full ID, and of a short one with the index warm"""
    figures = []
    for title, project in (("1,000 × 100", repository(1_000, 100)), ("10,000 × 10", repository(10_000, 10))):
        experiment_id = ids(project)[500]
        full = partial(_command, bench, project, ["show", experiment_id], cold=True)
        short = partial(_command, bench, project, ["show", experiment_id[:7]])
        figures += [
            figure(f"show, {title}", "full ID, cold", bench.interleave(5, full), _seconds, Limit(0.08, ORIGINAL)),
            figure("", "short ID, warm", bench.interleave(5, short), _seconds, Limit(0.08, ORIGINAL)),
        ]
    return figures


def experiments(bench: Bench) -> list[Figure]:
    """experiments.list() of 1,000 × 100, and reading and parsing the same with json (the original fails)"""
    project = repository(1_000, 100)
    runs = {
        OURS: [bench.ours.program(project, "experiments")],
        FLOOR: [bench.ours.program(project, "parse", "repo/metadata/experiments")],
    }
    for _ in range(5):
        runs[OURS].append(bench.ours.program(project, "experiments"))
        runs[FLOOR].append(bench.ours.program(project, "parse", "repo/metadata/experiments"))
    return [figure("experiments.list(), 1,000 × 100", "", runs, lambda done: done.said["seconds"], Limit(1.5, FLOOR))]


def checkout(bench: Bench) -> list[Figure]:
    """keepsake checkout of a 1 GB archive, and checkpoint.open() of a small file in it"""
    projects = {keepsake.name: _large_archive(bench, keepsake) for keepsake in bench.both}

    def restored(keepsake: Keepsake) -> Run:
        project, experiment_id = projects[keepsake.name]
        return bench.in_project(partial(_checkout, keepsake, project, experiment_id))

    def read(keepsake: Keepsake) -> Run:
        project, experiment_id = projects[keepsake.name]
        return keepsake.program(project, "read", experiment_id, "small.txt")

    whole, small = bench.interleave(3, restored, warm=False), bench.interleave(5, read)
    for project, _ in projects.values():
        shutil.rmtree(project)
    return [
        figure("checkout of 1 GB", "", whole, _seconds, Limit(0.7, ORIGINAL)),
        figure("", "memory", whole, _memory, unit="B"),
        figure("open() of 15 bytes in 1 GB", "", small, lambda done: done.said["seconds"], Limit(0.03, ORIGINAL)),
        figure("", "memory", small, _memory, Limit(plus=50 * MB), unit="B"),
    ]


def many(bench: Bench) -> list[Figure]:
    """keepsake ls --filter of 100,000 × 10 (ours alone, and with --full alone)"""
    project = repository(100_000, 10)
    cold = [_command(bench, project, ["ls", *_FILTER], bench.ours, cold=True)]
    warm = [_command(bench, project, ["ls", *_FILTER], bench.ours) for _ in range(3)]
    return [
        figure("ls --filter, 100,000 × 10", "cold", {OURS: cold}, _seconds),
        figure("", "warm", {OURS: warm}, _seconds, Limit(plus=2)),
        figure("", "memory, warm", {OURS: warm}, _memory, Limit(plus=300 * MB), unit="B"),
    ]


def _command(bench: Bench, project: Path, arguments: list[str], keepsake: Keepsake, *, cold: bool = False) -> Run:
    if cold:
        shutil.rmtree(bench.index, ignore_errors=True)
    return keepsake.command(project, *arguments)


def _same(runs: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Return `runs` if all have listed the same experiments."""
    listed = {tuple(re.findall(r"^[0-9a-f]{7}", run.output, re.MULTILINE)) for each in runs.values() for run in each}
    if len(listed) > 1:
        raise RuntimeError(f"the listings differ: {sorted(map(len, listed))} experiments")
    return runs


def _large_archive(bench: Bench, keepsake: Keepsake) -> tuple[Path, str]:
    project = bench.project()
    shutil.copy(weights(GB), project / "model.bin")
    (project / "small.txt").write_text("a small file...")
    (project / ".keepsakeignore").write_text("keepsake.yaml\n.keepsakeignore\nrepo/\n")
    keepsake.program(project, "checkpoint", ".")
    return project, ids(project)[0]


def _checkout(keepsake: Keepsake, project: Path, experiment_id: str, target: Path) -> Run:
    done = keepsake.command(project, "checkout", experiment_id, "--force", "--output-directory", str(target / "out"))
    if (target / "out/model.bin").stat().st_size != GB:
        raise RuntimeError("the checkout is not whole")
    return done


def _seconds(done: Run) -> float:
    return done.seconds


def _memory(done: Run) -> float:
    return done.memory
