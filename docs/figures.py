"""Makes the pictures of docs/guides/analysis.md: `python docs/figures.py` (takes a Python with scikit-learn).

Trains the iris example with many learning rates and numbers of epochs, and draws what that shows.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"

import keepsake

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
RUNS = 24


def train(project: Path) -> None:
    """Train RUNS times, with random learning rates from 0.001 to 1."""
    rng = random.Random(7)  # noqa: S311
    for _ in range(RUNS):
        lr, epochs = round(10 ** rng.uniform(-3, 0), 4), rng.choice((5, 10, 20))
        arguments = ["--lr", str(lr), "--epochs", str(epochs)]
        subprocess.run([sys.executable, "train.py", *arguments], cwd=project, check=True, capture_output=True)


def draw(project: Path) -> None:
    """Draw each picture of the guide."""
    from matplotlib import pyplot, rcParams

    rcParams["svg.hashsalt"] = "keepsake"  # the same picture from the same numbers
    experiments = keepsake.Project(directory=project).experiments.list(sort="val_loss")
    figures = {
        "curves": lambda: experiments[:4].plot("val_loss", logy=True),
        "colors": lambda: experiments.plot("val_loss", logy=True, color="lr"),
        "scatter": lambda: experiments[:10].scatter("lr", logx=True, color="epochs"),
        "parallel": lambda: experiments.parallel_coordinates(),
        "importance": lambda: experiments.importance(),
    }
    for name, make in figures.items():
        figure = make().get_figure()
        figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "iris"
        shutil.copytree(ROOT / "examples/iris", project)
        train(project)
        draw(project)
