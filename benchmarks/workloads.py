"""The workloads: each public function is one. They yield their figures, with what those may be at most."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks import material
from benchmarks.measure import FLOOR, ORIGINAL, OURS, REPOSITORY, Bench, Keepsake, Run, run
from benchmarks.results import Figure, Limit, figure

_MB = 10**6
_SMALL = "a small file..."
_PARSE = ["parse", material.METADATA]  # what json alone takes to read all records
_FILTER = ["ls", "--filter", "loss < 0.001"]


def load(bench: Bench) -> Iterator[Figure]:
    """import keepsake"""

    def beyond(keepsake: Keepsake) -> float:
        loaded, bare = (keepsake.program(bench.work, name).seconds for name in ("load", "bare"))
        return loaded - bare

    runs = bench.interleave(21, beyond, lambda: bench.ours.program(bench.work, "bare").seconds)
    yield figure("import: beyond bare Python", runs, float, Limit(0.2, ORIGINAL))


def init(bench: Bench) -> Iterator[Figure]:
    """init() without files"""
    runs = bench.interleave(15, lambda keepsake: bench.in_project(lambda project: keepsake.program(project, "init")))
    if ORIGINAL in runs:  # by a race it takes far less than half a second, or more than one
        runs[ORIGINAL] = [done for done in runs[ORIGINAL] if done.said["blocked"] < 0.5] or runs[ORIGINAL]
    yield figure("init(): blocks", runs, _said("blocked"), Limit(0.15, ORIGINAL), Limit(plus=0.02))


def init_files(bench: Bench) -> Iterator[Figure]:
    """init(path=".") with 1,000 small files"""
    runs = bench.interleave(9, partial(_save, bench, "init", ".", {"code": material.sources()}))
    yield figure("init(path='.'), 1,000 files: blocks", runs, _said("blocked"), Limit(0.1, ORIGINAL))
    yield figure(": CPU", runs, lambda done: done.cpu)


def metrics(bench: Bench) -> Iterator[Figure]:
    """checkpoint() with metrics only, call upon call, and with 5 ms of work between"""
    for title, pause, calls in (("back to back", 0.0, 10_000), ("every 5 ms", 0.005, 10_000 if bench.full else 2_000)):

        def measured(keepsake: Keepsake, calls: int = calls, pause: float = pause) -> Run:
            count = calls if keepsake is bench.ours else 1_000 if bench.full else 300
            return bench.in_project(lambda project: keepsake.program(project, "metrics", str(count), str(pause)))

        runs = bench.interleave(7, measured, warm=False)
        yield figure(f"metrics-only, {title}: median", runs, _said("median"), Limit(plus=1e-4))
        yield figure(": 99th percentile", runs, _said("p99"), Limit(plus=1e-3))
        yield figure(": last calls to first", runs, _said("growth"), Limit(plus=1.5), unit="×")


def checkpoint(bench: Bench) -> Iterator[Figure]:
    """checkpoint() of 1 MB, 100 MB and 1 GB of weights, and cp of them"""
    for size in (_MB, 100 * _MB, 1000 * _MB):
        files = {"model.bin": material.weights(size)}
        saving = partial(_save, bench, "checkpoint", "model.bin", files)
        copying = partial(bench.in_project, lambda project: run(["cp", "model.bin", "copy.bin"], project), files)
        runs = bench.interleave(15 if size == _MB else 9, saving, copying)
        blocked = {who: [done.said.get("blocked", done.seconds) for done in runs[who]] for who in runs}
        yield figure(f"checkpoint() of {size // _MB:,} MB: blocks", blocked, float, Limit(1.2, FLOOR, 0.002))
        runs.pop(FLOOR)
        yield from _saving("", runs)


def repeated(bench: Bench) -> Iterator[Figure]:
    """checkpoint() of 1 GB that was just written, the first and the later ones of a run, and cp of it"""
    files = {"model.bin": material.weights(1000 * _MB)}

    def one(keepsake: Keepsake, *order: str) -> dict[str, float]:
        program = ("repeated", "model.bin", "4", *order)
        return bench.in_project(lambda project: keepsake.program(project, *program), files).said

    def measured(keepsake: Keepsake) -> dict[str, float]:
        orders = [one(keepsake, "checkpoint", "copy"), one(keepsake, "copy", "checkpoint")]
        return {name: fmean(said[name] for said in orders) for name in orders[0]}

    runs = bench.interleave(5, measured, warm=False)
    for which in ("first", "later"):
        seconds = {who: [said[which] for said in each] for who, each in runs.items()}
        seconds[FLOOR] = [said[f"{which}_cp"] for said in runs[OURS]]
        yield figure(f"1 GB just written, {which} checkpoint(): blocks", seconds, float, Limit(1.0, FLOOR, 0.1))


def beside(bench: Bench) -> Iterator[Figure]:
    """checkpoint() beside a thread that computes in Python: metrics only, and 100 MB of weights"""
    files = {"model.bin": material.weights(100 * _MB)}

    def measured(keepsake: Keepsake) -> Run:
        return bench.in_project(lambda project: keepsake.program(project, "beside", "model.bin", "10"), files)

    runs = bench.interleave(7, measured, warm=False)
    yield figure("beside a thread that computes, metrics only: blocks", runs, _said("metrics"), Limit(0.5, ORIGINAL))
    yield figure("beside a thread that computes, 100 MB: blocks", runs, _said("files"), Limit(0.5, ORIGINAL))


def compressible(bench: Bench) -> Iterator[Figure]:
    """checkpoint() of 100 MB of text"""
    saving = partial(_save, bench, "checkpoint", "table.csv", {"table.csv": material.text(100 * _MB)})
    runs = bench.interleave(7, saving, warm=False)
    yield from _saving("checkpoint() of 100 MB of text", runs)
    yield figure(": archive", runs, _said("archive"), Limit(1.2, ORIGINAL), unit="B")


def leave(bench: Bench) -> Iterator[Figure]:
    """The end of a program with nothing left to save"""

    def measured(keepsake: Keepsake) -> Run:
        return bench.in_project(lambda project: keepsake.program(project, "idle"))

    runs = bench.interleave(11, measured, lambda: bench.ours.program(bench.work, "bare"), warm=False)
    yield figure("exit: nothing pending", runs, lambda done: done.ended - done.said["end"], Limit(0.4, ORIGINAL))


def usage(bench: Bench) -> Iterator[Figure]:
    """keepsake --help"""
    bare = partial(bench.ours.program, bench.work, "bare")
    runs = bench.interleave(15, lambda keepsake: keepsake.command(bench.work, "--help"), bare)
    yield figure("keepsake --help", runs, _seconds, Limit(plus=0.12))


def listing(bench: Bench) -> Iterator[Figure]:
    """keepsake ls of 1,000 × 100, ls -q and ls --filter of 10,000 × 10, the whole table of 10,000"""
    deep, wide = material.repository(1_000, 100), material.repository(10_000, 10)
    for title, project, arguments in (
        ("ls, 1,000 × 100", deep, ["ls"]),
        ("ls -q, 10,000 × 10", wide, ["ls", "-q"]),
        ("ls --filter, 10,000 × 10", wide, _FILTER),
    ):
        floor = partial(bench.ours.program, project, *_PARSE)
        cold = bench.interleave(7, partial(_command, arguments, project, True), floor, warm=False)
        yield figure(f"{title}: cold", _same(cold), _seconds, Limit(0.2, ORIGINAL))
        warm = bench.interleave(11, partial(_command, arguments, project, False))
        yield figure(": warm", _same(warm), _seconds, Limit(0.08, ORIGINAL))
    whole = bench.interleave(7, partial(_command, ["ls"], wide, False))
    yield figure("ls, 10,000 × 10: warm", _same(whole), _seconds, Limit(0.35, ORIGINAL))


def show(bench: Bench) -> Iterator[Figure]:
    """keepsake show of a full ID, and of a short one with the index warm"""
    for size in ((1_000, 100), (10_000, 10)):
        project = material.repository(*size)
        experiment_id = material.ids(project)[500]
        for title, cold, given in (
            ("full ID, cold", True, experiment_id),
            ("short ID, warm", False, experiment_id[:7]),
        ):
            runs = bench.interleave(11, partial(_command, ["show", given], project, cold))
            yield figure(f"show, {size[0]:,} × {size[1]}: {title}", runs, _seconds, Limit(0.08, ORIGINAL))


def experiments(bench: Bench) -> Iterator[Figure]:
    """experiments.list() of 1,000 × 100, and reading all of it with json; the original fails"""
    project = material.repository(1_000, 100)
    programs = {OURS: ["experiments"], FLOOR: _PARSE}
    rounds = [{who: bench.ours.program(project, *program) for who, program in programs.items()} for _ in range(7)]
    runs = {who: [done[who] for done in rounds] for who in programs}
    yield figure("experiments.list(), 1,000 × 100", runs, _said("seconds"), Limit(1.5, FLOOR))


def checkout(bench: Bench) -> Iterator[Figure]:
    """keepsake checkout of a 1 GB archive, and checkpoint.open() of a small file in it"""
    projects = {keepsake: bench.project({"model.bin": material.weights(1000 * _MB)}) for keepsake in bench.both}
    for keepsake, project in projects.items():
        (project / "small.txt").write_text(_SMALL)
        keepsake.program(project, "checkpoint", ".")

    def restored(keepsake: Keepsake, target: Path) -> Run:
        given = (material.ids(projects[keepsake])[0], "--force", "--output-directory", str(target / "out"))
        done = keepsake.command(projects[keepsake], "checkout", *given)
        return _checked(done, (target / "out/model.bin").stat().st_size == 1000 * _MB)

    def read(keepsake: Keepsake) -> Run:
        project = projects[keepsake]
        return keepsake.program(project, "read", material.ids(project)[0], "small.txt", _SMALL)

    whole = bench.interleave(9, lambda keepsake: bench.in_project(partial(restored, keepsake)))
    yield figure("checkout of 1 GB", whole, _seconds, Limit(0.7, ORIGINAL))
    small = bench.interleave(11, read)
    yield figure("open() of 15 bytes in 1 GB", small, _said("seconds"), Limit(0.03, ORIGINAL))
    yield figure(": memory", small, _memory, Limit(plus=50 * _MB), unit="B")


def many(bench: Bench) -> Iterator[Figure]:
    """keepsake ls --filter of 100,000 × 10, ours alone; only with --full, or if named"""
    project = material.repository(100_000, 10)
    first, *warm = (_command(_FILTER, project, not number, bench.ours) for number in range(6))
    yield figure("ls --filter, 100,000 × 10: cold", {OURS: [first]}, _seconds)
    yield figure(": warm", {OURS: warm}, _seconds, Limit(plus=2))
    yield figure(": memory", {OURS: warm}, _memory, Limit(plus=300 * _MB), unit="B")


def _save(bench: Bench, program: str, path: str, files: dict[str, Path], keepsake: Keepsake) -> Run:
    """Run a program that saves files; an archive that is not there, or next to empty, is no result."""

    def measured(project: Path) -> Run:
        done = keepsake.program(project, program, path)
        (archive,) = (project / REPOSITORY / ("experiments" if program == "init" else "checkpoints")).iterdir()
        done.said["archive"] = archive.stat().st_size
        return _checked(done, done.said["archive"] > 20_000)

    return bench.in_project(measured, files)


def _saving(title: str, runs: dict[str, list[Run]]) -> Iterator[Figure]:
    """From the call of checkpoint() to the end of the last process, and what all of it takes."""
    yield figure(f"{title}: durable", runs, lambda done: done.settled - done.said["start"], Limit(0.5, ORIGINAL))
    yield figure(": CPU", runs, lambda done: done.cpu, Limit(0.6, ORIGINAL))
    yield figure(": memory", runs, _memory, Limit(plus=100 * _MB), unit="B")


def _command(arguments: list[str], project: Path, cold: bool, keepsake: Keepsake) -> Run:
    if cold:  # without our index; the files' content is in memory all the same
        shutil.rmtree(keepsake.home / "index", ignore_errors=True)
    done = keepsake.command(project, *arguments)
    done.said["listed"] = hash(tuple(re.findall(r"^[0-9a-f]{7}", done.output, re.MULTILINE)))
    done.output = ""  # a child begins with the memory of its parent, as the kernel counts it: ours must stay small
    return done


def _same(runs: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Return `runs` if all have listed the same experiments."""
    if len({done.said["listed"] for each in runs.values() for done in each if "listed" in done.said}) > 1:
        raise RuntimeError("the listings differ")
    return runs


def _checked(done: Run, is_right: bool) -> Run:
    if not is_right:
        raise RuntimeError("it did not do what was measured")
    return done


def _said(name: str) -> Callable[[Run], float]:
    return lambda done: float(done.said[name])


def _seconds(done: Run) -> float:
    return done.seconds


def _memory(done: Run) -> float:
    return done.memory
