"""`python -m benchmarks`: measure, print the table, and write it down."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import reading, recording
from benchmarks.measure import CACHE, ROOT, Bench
from benchmarks.results import Figure, machine, table, write_json, write_markdown
from tests.interop.oracle import CannotInstall, install

Workload = Callable[[Bench], list[Figure]]

WORKLOADS: dict[str, Workload] = {
    "import": recording.import_time,
    "init": recording.init,
    "init-files": recording.init_files,
    "metrics": recording.metrics,
    "checkpoint-1MB": partial(recording.checkpoint, size=recording.MB),
    "checkpoint-100MB": partial(recording.checkpoint, size=100 * recording.MB),
    "checkpoint-1GB": partial(recording.checkpoint, size=1000 * recording.MB),
    "text": recording.compressible,
    "exit": recording.leave,
    "help": reading.usage,
    "ls": reading.listing,
    "show": reading.show,
    "experiments": reading.experiments,
    "checkout": reading.checkout,
    "100k": reading.many,
}
ONLY_FULL = {"100k"}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD", help="only these (default: all)")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument("--full", action="store_true", help="more calls and rounds, and 100,000 experiments")
    parser.add_argument("--alone", action="store_true", help="without Keepsake 0.4.2")
    parser.add_argument("--original", type=Path, metavar="DIR", help="the bin directory of an installed Keepsake 0.4.2")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure everything N times")
    parser.add_argument("--json", type=Path, metavar="FILE", default=CACHE / "last.json", help="(default: %(default)s)")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/performance.md")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.workload) - WORKLOADS.keys())
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parse(arguments)
    if chosen.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:18}{(workload.func if isinstance(workload, partial) else workload).__doc__}")
        return 0
    names = chosen.workload or [name for name in WORKLOADS if chosen.full or name not in ONLY_FULL]
    original = None
    if not chosen.alone:
        try:
            original = chosen.original or install()
        except CannotInstall as error:
            print(f"Keepsake 0.4.2 cannot be installed, so it is not measured: {error}", file=sys.stderr)
    figures: list[Figure] = []
    about = machine()
    with Bench(original, full=chosen.full, rounds=chosen.rounds) as bench:
        for name in names:
            print(f"Measuring {name} …", file=sys.stderr, flush=True)
            figures += WORKLOADS[name](bench)
            write_json(chosen.json, figures, about)
    print(table(figures))
    if chosen.docs:
        write_markdown(ROOT / "docs/performance.md", figures, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
