"""What the documentation shows is true: its programs and commands are run, and print what it says.

In a page, a block ```LANGUAGE file=NAME``` is a file to write, and in ```shell-session``` the lines that begin
with `$ ` are run. In what they print, IDs, times, durations and the fourth and later decimals may differ, and a line
`...` stands for any lines. An ID in a later command stands for the one that was printed where the page shows it.
`keepsake ls` runs on a terminal of 100 columns, unless it is piped. All other output is captured.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keepsake.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SESSIONS = [page for page in PAGES if re.search(r"^```shell-session$", page.read_text(encoding="utf-8"), re.MULTILINE)]

BLOCK = re.compile(r"^```(\S+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{7}\b"
_VARIES = re.compile(
    rf"(?P<id>{ID})"
    r"|(?P<ago>(?:about )?(?:an?|one|\d+) (?:second|minute|hour|day)s? ago|\d+[smhd] ago)"
    r"|(?P<date>[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \S+)"
    r"|(?P<moment>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
    r"|(?P<version>\d+\.\d+\.\d+)"
    r"|(?P<number>\d+\.\d{4,})"
    r"|(?P<blank> {2,})"
)
_ANY = {
    "ago": r"[\w ]+? ago",
    "date": r"\w+, .*?",
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "version": r"[\w.]+",
    "blank": " {2,}",
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pattern(expected: str) -> tuple[str, list[str]]:
    """A regular expression for one line as the page shows it, with a group for each ID, and these IDs."""
    ids, parts, position = [], [], 0
    for match in _VARIES.finditer(expected):
        parts.append(re.escape(expected[position : match.start()]))
        position = match.end()
        if match["id"]:
            ids.append(match["id"])
            parts.append(r"\b([0-9a-f]{7})\b")  # one without a digit is as good
        else:
            parts.append(_ANY.get(match.lastgroup or "") or re.escape(re.sub(r"(\.\d{3}).*", r"\1", match[0])) + r"\d*")
    return "".join(parts) + re.escape(expected[position:]), ids


def check_output(expected: list[str], printed: list[str], real: dict[str, str]) -> None:
    """Compare what a page shows with what was printed, and learn which IDs are meant."""
    lines = iter(printed)
    for index, line in enumerate(expected):
        if line == "...":
            following = expected[index + 1] if index + 1 < len(expected) else None
            if following is None:
                return
            lines = _skip_to(pattern(following)[0], lines)
            continue
        text = next(lines, None)
        regex, ids = pattern(line)
        match = re.fullmatch(regex + r"\s*", text or "")
        assert match, f"the page shows\n  {line}\nbut it is\n  {text}\nin\n" + "\n".join(printed)
        real.update(zip(ids, match.groups(), strict=True))
    assert not [line for line in lines if line.strip()], printed


def _skip_to(regex: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if re.fullmatch(regex + r"\s*", line):
            yield line
            break
    yield from lines


def run(command: str, cwd: Path, *, terminal: bool = False) -> list[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}
    arguments: dict[str, Any] = {"cwd": cwd, "env": environment, "stdin": subprocess.DEVNULL}
    if terminal or re.fullmatch(r"keepsake ls\b[^|>]*", command):
        return _run_on_terminal(command, arguments)
    arguments |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        ["bash", "-c", command], text=True, timeout=120, **arguments
    )
    return done.stdout.splitlines()


def _run_on_terminal(command: str, arguments: dict[str, Any]) -> list[str]:
    """Run a command whose output fits the buffer of a pseudo terminal."""
    ours, theirs = os.openpty()
    subprocess.run(["bash", "-c", command], timeout=120, stdout=theirs, stderr=theirs, **arguments)
    os.write(theirs, b"\n$")  # so that there is an end to read to
    shown = b""
    while not shown.endswith(b"\n$"):
        shown += os.read(ours, 1 << 16)
    os.close(ours)
    os.close(theirs)
    return shown.removesuffix(b"\n$").decode().splitlines()


def needs(page: Path) -> list[str]:
    """The frameworks that the programs of a page use."""
    found = re.search(r"<!-- needs ([\w ]+) -->", page.read_text(encoding="utf-8"))
    return found[1].split() if found else []


def check_page(page: Path, project: Path) -> None:
    """Write the files of a page, run its commands, and compare what they print."""
    text = page.read_text(encoding="utf-8")
    example = re.search(r"<!-- in a copy of (\S+) -->", text)
    if example:
        shutil.copytree(ROOT / example[1], project)
    project.mkdir(exist_ok=True)
    directory = project
    real: dict[str, str] = {}
    commands = 0
    for language, file, content in BLOCK.findall(text):
        if file:
            (directory / file).write_text(content, encoding="utf-8")
        elif language == "shell-session":
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, *expected = part.rstrip("\n").split("\n")
                command = re.sub(ID, lambda match: real.get(match[0], match[0]), command)
                if command.startswith("cd "):
                    directory = directory / command.removeprefix("cd ")
                    continue
                printed = [line.replace(str(project), "/home/kim/project") for line in run(command, directory)]
                check_output(expected, printed, real)
                commands += 1
    assert commands


@pytest.mark.skipif(shutil.which("bash") is None, reason="the pages' commands are for a shell")
@pytest.mark.parametrize("page", [page for page in SESSIONS if not needs(page)], ids=name)
def test_the_commands_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    """Those of pages that need a framework are run by tests/frameworks/test_guides.py."""
    check_page(page, tmp_path / "page")


@pytest.mark.skipif(shutil.which("bash") is None, reason="the pages' commands are for a shell")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_can_be_parsed(page: Path) -> None:
    """Those that are not run: bash understands them, and Keepsake knows its options."""
    for language, _, content in BLOCK.findall(page.read_text(encoding="utf-8").replace("\n  ", "\n")):
        if language == "shell":
            subprocess.run(["bash", "-n"], input=content, text=True, check=True)
            for line in re.findall(r"^keepsake (.*)$", content, re.MULTILINE):
                done = CliRunner().invoke(cli, [*shlex.split(line, comments=True), "--help"])
                assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_programs_of_a_page_compile(page: Path) -> None:
    for language, _, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python" and page.parent.name != "reference":
            compile(content, name(page), "exec")


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end in, on GitHub."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"https?://", target):
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_the_references_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_page_of_the_docs_is_named_on_its_first_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page != ROOT / "docs/README.md":
            assert f"({page.relative_to(ROOT / 'docs').as_posix()})" in index, page
