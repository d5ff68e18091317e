"""Makes the pictures in docs/images from the iris example: `make docs`, or `python docs/gallery.py`.

Trains the example with many learning rates, draws the figures, and photographs the report, for which Chromium and its
driver must be there; picture.py draws the session of the README. The pictures show IDs and times, so they are made only
if what draws them, the example or this script has changed since.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"
os.environ["TZ"] = "UTC"

import keepsake

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
SOURCES = (
    *(ROOT / name for name in ("keepsake/report/assets", "keepsake/display", "examples/iris", "docs/picture.py")),
    Path(__file__),
)
RUNS, CHANGED = 24, 16  # how many runs there are, and the first one with other code
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
TICK = (
    "set({ticked: view.runs.slice(1, 4).map(run => run.id).join(',')}); document.getElementById('tray').hidden = true"
)
COMPARE = (
    "const other = view.runs.find(run => changedFiles(view.best, run).some(([name]) => name === 'train.py'));"
    "set({ticked: [view.best.id, other.id].join(','), compare: '1'})"
)
PHOTOGRAPHS = {  # name → theme, height in pixels, what a person does first
    "report": ("light", 1000, TICK),
    "report-compare": ("dark", 900, COMPARE),
}


def train(project: Path) -> None:
    """Train with random learning rates from 0.001 to 1, and for the last runs with more regularization."""
    rng = random.Random(7)  # noqa: S311
    script = project / "train.py"
    for number in range(RUNS):
        if number == CHANGED:
            text = script.read_text("utf-8")
            script.write_text(text.replace("eta0=lr, random_state", "eta0=lr, alpha=0.001, random_state"), "utf-8")
        lr, epochs = round(10 ** rng.uniform(-3, 0), 4), rng.choice((5, 10, 20))
        arguments = ["--lr", str(lr), "--epochs", str(epochs)]
        subprocess.run([sys.executable, "train.py", *arguments], cwd=project, check=True, capture_output=True)


def draw(experiments: keepsake.ExperimentList) -> None:
    """Draw each figure."""
    from matplotlib import pyplot, rcParams

    rcParams["svg.hashsalt"] = "keepsake"  # the same picture from the same numbers
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


# Photographs


def fingerprint() -> str:
    """Return what stands for all that the pictures are made from."""
    paths = [path for source in SOURCES for path in ([source] if source.is_file() else source.rglob("*"))]
    parts = [path.read_bytes() for path in sorted(paths) if path.suffix in {".py", ".js", ".css", ".html", ".yaml"}]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_current(picture: Path, made_from: str) -> bool:
    """Return whether a picture was made from that."""
    from PIL import Image

    if not picture.exists():
        return False
    with Image.open(picture) as image:
        return bool(image.info.get("made from") == made_from)


def photograph(report: Path, made_from: str) -> None:
    """Take the pictures of a report."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (*ARGUMENTS, f"--user-data-dir={report.parent / 'browser'}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        for name, (theme, height, script) in PHOTOGRAPHS.items():
            size = {"width": 1280, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get("about:blank")
            driver.get(f"{report.as_uri()}#theme={theme}")
            while driver.execute_script("return document.body?.dataset.ready") != "1":
                time.sleep(0.1)
            driver.execute_script(script)
            time.sleep(1)
            save(driver.get_screenshot_as_png(), IMAGES / f"{name}.png", made_from)
    finally:
        driver.quit()


def save(png: bytes, target: Path, made_from: str) -> None:
    """Write a picture with few colours, which takes a third of the room."""
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("made from", made_from)
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(220, kmeans=1).save(target, "PNG", optimize=True, pnginfo=about)


def main() -> None:
    """Make the pictures, if they are not of the present sources."""
    made_from = fingerprint()
    if all(is_current(IMAGES / f"{name}.png", made_from) for name in PHOTOGRAPHS):
        return
    subprocess.run([sys.executable, ROOT / "docs/picture.py"], check=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        project = Path(directory) / "iris"
        shutil.copytree(ROOT / "examples/iris", project)
        train(project)
        experiments = keepsake.Project(directory=project).experiments.list(sort="val_loss")
        draw(experiments)
        if shutil.which("chromedriver"):
            experiments.report(project / "report.html")
            photograph(project / "report.html", made_from)
        else:
            print("NOT MADE: the pictures of the report. `make browser` installs Chromium.", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
