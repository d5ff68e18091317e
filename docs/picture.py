"""Makes the picture in the README from a real session: `python docs/picture.py` (takes a Python with scikit-learn).

Trains the iris example twice, runs COMMANDS on a terminal, and draws what that shows. tests/docs/test_picture.py runs
them again and compares.
"""

from __future__ import annotations

import html
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/session.svg"
COMMANDS = ("keepsake ls", "keepsake diff {slow} {best} --no-code")
COLUMNS, WIDTH, HEIGHT, MARGIN = 88, 7.83, 18, 16  # characters a line; pixels of a character, a line and the border
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve"
  width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{label}">
<style>
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d6d9e0 }}
.bold {{ font-weight: bold; fill: #ffffff }} .faint {{ fill: #8b93a3 }} .prompt {{ fill: #7fd1a3 }}
</style>
<rect width="100%" height="100%" rx="8" fill="#1e222a"/>
{lines}
</svg>
"""


def on_terminal(command: str, cwd: Path) -> str:
    """What a command shows on a terminal, with its colors."""
    shown = bytearray()
    here = os.getcwd()
    os.chdir(cwd)

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 1 << 16)
        shown.extend(data)
        return data

    silent = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # pty.spawn copies all to stdout
    try:
        pty.spawn(["sh", "-c", f"stty cols {COLUMNS}; exec {command}"], read)
    finally:
        os.dup2(silent, 1)
        os.chdir(here)
    return shown.decode().replace("\r\n", "\n").strip("\n")


def session() -> list[str]:
    """The lines of the session, with their escape sequences."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "iris"
        shutil.copytree(ROOT / "examples/iris", project)
        for lr in ("0.1", "5"):
            subprocess.run([sys.executable, "train.py", "--lr", lr], cwd=project, check=True, capture_output=True)
        listed = subprocess.run(["keepsake", "ls", "-q"], cwd=project, check=True, capture_output=True, text=True)
        slow, best = (line[:7] for line in listed.stdout.split())
        lines: list[str] = []
        for command in (text.format(slow=slow, best=best) for text in COMMANDS):
            lines += [f"$ {command}", *on_terminal(command, project).split("\n"), ""]
        return lines[:-1]


def draw(lines: list[str]) -> str:
    """An SVG of the lines."""
    drawn = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + HEIGHT * (number + 0.75):.1f}">{_line(line)}</text>'
        for number, line in enumerate(lines)
    )
    return FRAME.format(
        width=2 * MARGIN + COLUMNS * WIDTH,
        height=2 * MARGIN + HEIGHT * len(lines),
        label="A terminal with the output of keepsake ls and keepsake diff",
        lines=drawn,
    )


def _line(line: str) -> str:
    if line.startswith("$ "):
        return f'<tspan class="prompt">$</tspan><tspan class="bold">{html.escape(line[1:])}</tspan>'
    parts, kind = [], ""
    for code, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]*)", line):
        kind = {"1": "bold", "2": "faint", "0": "", "": kind if text else ""}.get(code, kind)
        if text:
            escaped = html.escape(text)
            parts.append(f'<tspan class="{kind}">{escaped}</tspan>' if kind else escaped)
    return "".join(parts).rstrip()


if __name__ == "__main__":
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["TZ"] = "UTC"
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(session()), encoding="utf-8")
