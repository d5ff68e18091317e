"""`python -m benchmarks`: measure, print the table, and write all samples to a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import CACHE, ROOT, Bench
from benchmarks.results import Figure, table, write_json, write_markdown
from benchmarks.workloads import WORKLOADS
from tests.interop.oracle import CannotInstall, install


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parse(arguments)
    if chosen.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:18}{(workload.func if isinstance(workload, partial) else workload).__doc__}")
        return 0
    original = None if chosen.alone else chosen.original or _install()
    figures: list[Figure] = []
    with Bench(original, full=chosen.full, rounds=chosen.rounds) as bench:
        for name in chosen.workload or [name for name in WORKLOADS if chosen.full or name != "100k"]:
            print(f"Measuring {name} …", file=sys.stderr, flush=True)
            figures += WORKLOADS[name](bench)
            write_json(chosen.json, figures)
    print(table(figures))
    if chosen.docs:
        write_markdown(ROOT / "docs/performance.md", figures)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="*", help="only these (default: all)")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument("--full", action="store_true", help="more calls, and 100,000 experiments")
    parser.add_argument("--alone", action="store_true", help="without Keepsake 0.4.2")
    parser.add_argument("--original", type=Path, metavar="DIR", help="where the programs of Keepsake 0.4.2 are")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure everything N times")
    parser.add_argument("--json", type=Path, metavar="FILE", default=CACHE / "last.json", help="default: %(default)s")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/performance.md")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.workload) - WORKLOADS.keys()):
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return chosen


def _install() -> Path | None:
    try:
        return install()
    except CannotInstall as error:
        print(f"Keepsake 0.4.2 cannot be installed, and is not measured: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
