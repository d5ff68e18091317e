"""Makes the picture of a report in the README: `python docs/report.py`.

It takes a Python with scikit-learn, selenium and Pillow, and Chromium. It trains the iris example with some learning
rates, makes the report, and photographs it.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/report.png"
RATES = ("0.001", "0.003", "0.01", "0.03", "0.1", "0.2", "0.3", "0.5", "1", "2", "3")
SIZE = (1280, 1000)  # pixels
COLORS = 96  # of the picture
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


def trained(directory: Path) -> Path:
    """Train with each rate in a copy of the example, and return its report."""
    project = directory / "iris"
    shutil.copytree(ROOT / "examples/iris", project)
    for rate in RATES:
        command = [sys.executable, "train.py", "--lr", rate, "--epochs", "40"]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    command = [sys.executable, "-m", "keepsake", "report", "--output", "report.html"]
    subprocess.run(command, cwd=project, check=True)
    return project / "report.html"


def photographed(report: Path) -> bytes:
    """Return a picture of a report, as PNG."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (*ARGUMENTS, f"--user-data-dir={report.parent / 'browser'}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(f"{report.as_uri()}#theme=light")
        while driver.execute_script("return document.body.dataset.ready") != "1":
            time.sleep(0.1)
        driver.execute_script("set({ticked: view.runs.slice(1, 4).map((run) => run.id).join(',')})")
        driver.execute_script("document.getElementById('tray').hidden = true")
        time.sleep(0.5)
        return driver.get_screenshot_as_png()
    finally:
        driver.quit()


def optimised(png: bytes) -> bytes:
    """Return a picture with few colours, which takes a third of the room."""
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(COLORS).save(target, "PNG", optimize=True)
    return target.getvalue()


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        PICTURE.write_bytes(optimised(photographed(trained(Path(temporary)))))
