"""The measured programs, which Keepsake 0.4.2 and ours run alike: `python programs.py NAME ARGUMENT…`.

Each prints what it measured itself as JSON: seconds, and moments by the monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from statistics import fmean
from time import monotonic

if sys.argv[1] not in ("bare", "parse"):
    import keepsake


def bare() -> dict[str, float]:
    return {"end": monotonic()}


load = bare


def init(path: str = "") -> dict[str, float]:
    start = monotonic()
    keepsake.init(path=path or None, params={"learning_rate": 0.01, "optimizer": "adam"})
    return {"blocked": monotonic() - start}


def idle() -> dict[str, float]:
    keepsake.init().checkpoint(metrics={"loss": 0.5})
    time.sleep(2)  # all is saved when it ends
    return {"end": monotonic()}


def _ready() -> keepsake.Experiment:
    experiment = keepsake.init()
    time.sleep(1)  # what init() does in the background is done by then
    return experiment


def metrics(calls: str, pause: str) -> dict[str, float]:
    experiment, seconds = _ready(), []
    for step in range(int(calls)):
        values = {"loss": 1 / (step + 1), "accuracy": 0.5 + step * 1e-6, "epoch": step // 10}
        start = monotonic()
        experiment.checkpoint(step=step, metrics=values, primary_metric=("loss", "minimize"))
        seconds.append(monotonic() - start)
        while monotonic() < start + seconds[-1] + float(pause):
            pass
    ranked, first, last = sorted(seconds), sorted(seconds[5:55]), sorted(seconds[-50:])
    return {"median": ranked[len(ranked) // 2], "p99": ranked[len(ranked) * 99 // 100], "growth": last[25] / first[25]}


def checkpoint(path: str) -> dict[str, float]:
    experiment = _ready()
    start = monotonic()
    experiment.checkpoint(path=path, metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
    return {"blocked": monotonic() - start, "start": start}


def repeated(path: str, count: str, *order: str) -> dict[str, float]:
    """Checkpoints of weights that were just written, as after torch.save(), each beside a cp of them.

    The copies stay, as checkpoints do. Otherwise each new one would get the memory of the last one.
    The order, "checkpoint" and "copy" or the reverse, changes from one pair to the next.
    """
    with open(path, "rb") as file:
        content = file.read()
    experiment = _ready()
    seconds: dict[str, list[float]] = {"checkpoint": [], "copy": []}
    for number in range(int(count)):
        for action in order if number % 2 else reversed(order):
            with open(path, "wb") as file:
                file.write(content)
            start = monotonic()
            if action == "copy":
                subprocess.run(["cp", path, f"copy-{number}.bin"], check=True)
            else:
                experiment.checkpoint(path=path, metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
            seconds[action].append(monotonic() - start)
    blocked, copied = seconds["checkpoint"], seconds["copy"]
    return {"first": blocked[0], "later": fmean(blocked[1:]), "first_cp": copied[0], "later_cp": fmean(copied[1:])}


def beside(path: str, count: str) -> dict[str, float]:
    """Checkpoints beside a thread that computes in Python, as one that prepares data does."""
    experiment = _ready()
    done = threading.Event()
    threading.Thread(target=_compute, args=(done,)).start()
    means = {}
    for kind, files in (("metrics", None), ("files", path)):
        seconds = []
        for _ in range(int(count)):
            time.sleep(0.2)
            start = monotonic()
            experiment.checkpoint(path=files, metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
            seconds.append(monotonic() - start)
        means[kind] = fmean(seconds)
    done.set()
    return means


def _compute(done: threading.Event) -> None:
    while not done.is_set():
        pass


def read(experiment_id: str, name: str, content: str) -> dict[str, float]:
    saved = keepsake.experiments.get(experiment_id).checkpoints[0]
    start = monotonic()
    with saved.open(name) as file:
        assert file.read().decode() == content, "it is not what was saved"
    return {"seconds": monotonic() - start}


def experiments() -> dict[str, float]:
    start = monotonic()
    return {"count": len(keepsake.experiments.list()), "seconds": monotonic() - start}


def parse(directory: str) -> dict[str, float]:
    start, found = monotonic(), []
    for entry in os.scandir(directory):
        with open(entry.path, "rb") as file:
            found.append(json.load(file))
    return {"count": len(found), "seconds": monotonic() - start}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
