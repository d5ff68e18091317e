"""`python -m tests.faults.histories SEED|FILE`: play a history again, and print what its processes said."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.faults.histories.campaign import told
from tests.faults.histories.making import make
from tests.faults.histories.playing import play
from tests.faults.sandbox import ChildDone


def main() -> None:
    """Play the history of a seed, or of a file that a failing campaign has left."""
    argument = sys.argv[1]
    history = make(int(argument)) if argument.isdigit() else json.loads(Path(argument).read_text())
    base = Path(tempfile.mkdtemp(prefix="keepsake-history-")) / "world"
    ledger = play(history, base)
    print(ledger.world.messages.read_text(errors="replace"))
    print(*told(history), *(f"PROBLEM: {problem}" for problem in ledger.problems), base, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except ChildDone:
        pass  # the end of a child, as of any program
