"""`python -m benchmarks`: measure, print the table, and write all samples to a file."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import workloads
from benchmarks.measure import CACHE, Bench
from benchmarks.results import Figure, table, write_json, write_markdown
from tests.interop.oracle import CannotInstall, install

_PAGE = Path("docs/performance.md")


def main(arguments: Sequence[str] | None = None) -> None:
    here = inspect.getmembers(workloads, lambda it: inspect.isgeneratorfunction(it) and it.__name__[0] != "_")
    known = dict(sorted(here, key=lambda item: inspect.getsourcelines(item[1])[1]))
    about = "\n".join(f"  {name:13}{workload.__doc__}" for name, workload in known.items())
    parser = argparse.ArgumentParser("python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = f"workloads (default: all of them):\n{about}"
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD", choices=[[], *known], help="one of those below")
    parser.add_argument("--full", action="store_true", help="more calls, and 100,000 experiments")
    parser.add_argument("--alone", action="store_true", help="without Keepsake 0.4.2")
    parser.add_argument("--original", type=Path, metavar="DIR", help="where the programs of Keepsake 0.4.2 are")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure everything N times")
    parser.add_argument("--json", type=Path, metavar="FILE", default=CACHE / "last.json", help="default: %(default)s")
    parser.add_argument("--docs", action="store_true", help=f"put the table into {_PAGE}")
    chosen = parser.parse_args(arguments)
    original = None if chosen.alone else chosen.original or _install()
    figures: list[Figure] = []
    with Bench(original, full=chosen.full, rounds=chosen.rounds) as bench:
        for name in chosen.workload or [name for name in known if chosen.full or name != "many"]:
            print(f"Measuring {name} …", file=sys.stderr, flush=True)
            figures += known[name](bench)
            write_json(chosen.json, figures)
    print(table(figures))
    if chosen.docs:
        write_markdown(_PAGE, figures)


def _install() -> Path | None:
    try:
        return install()
    except CannotInstall as error:
        print(f"Keepsake 0.4.2 cannot be installed, and is not measured: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
