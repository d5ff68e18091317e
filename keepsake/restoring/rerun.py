"""Running the command of an experiment again: what to run, where, and with which settings changed."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keepsake.config import REPOSITORY_VARIABLE
from keepsake.exceptions import ValidationError
from keepsake.metadata import Record
from keepsake.util.ids import short_id

_HIDDEN = "***"  # replaces a secret in a recorded command
_SIGNAL_STATUS = 128  # a shell's exit status for a process that a signal ended, plus the signal's number


@dataclass(frozen=True)
class Rerun:
    """A command to be run again.

    Attributes:
        arguments: the interpreter, the script or `-m MODULE`, and its arguments.
        directory: the working directory, relative to the restored files.
        changed: the settings that were found in the command, each with its old and its new value.
    """

    arguments: list[str]
    directory: str = "."
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.arguments)


def plan_rerun(
    record: Record,
    files: Collection[str],
    settings: Mapping[str, object],
    arguments: Iterable[str] = (),
    python: str | None = None,
) -> Rerun:
    """Return how to run an experiment again.

    Args:
        record: of the experiment.
        files: the names of its saved files.
        settings: options of the command, with their new values.
        arguments: further arguments, which are put at the end of the command.
        python: the interpreter; None: the present one.

    Raises ValidationError if the command is not known in full, its script is not among the files, or it has no option
    of a setting's name.
    """
    words = _words(record)
    words, changed = _with_settings(words, settings)
    launch = _launch(record)
    directory, module = launch.get("directory", ""), launch.get("module")
    start = ["-m", module] if module else None
    if start is None:
        directory, script = _script(words[0], directory, files)
        start = [script]
    return Rerun([python or sys.executable, *start, *words[1:], *arguments], directory or ".", changed)


def run(plan: Rerun, directory: Path, repository: str) -> int:
    """Run a command in `directory`, with the present environment, and return its exit status.

    `repository` is the URL that it records to.
    """
    environment = os.environ | {REPOSITORY_VARIABLE: repository}
    try:
        with subprocess.Popen(plan.arguments, cwd=directory / plan.directory, env=environment) as process:
            while True:
                try:
                    status = process.wait()
                    break
                except KeyboardInterrupt:  # the command has received it too, and ends in its own way
                    continue
    except OSError as error:
        raise ValidationError(f"Cannot run {plan.arguments[0]}: {error.strerror}. Name another interpreter.") from error
    return status if status >= 0 else _SIGNAL_STATUS - status


def _launch(record: Record) -> dict[str, str]:
    """Return how a script was started: `directory`, from the project directory, and `module`, those that matter."""
    launch = record.get("launch")
    found = launch if isinstance(launch, dict) else {}
    return {name: found[name] for name in ("directory", "module") if found.get(name) and isinstance(found[name], str)}


def _words(record: Record) -> list[str]:
    """Return the words of the recorded command."""
    name, command = short_id(record["id"]), record.get("command") or ""
    if _HIDDEN in command:
        raise ValidationError(
            f"The command of experiment {name} holds a secret, which was recorded as {_HIDDEN}: {command}\n"
            f"Restore its files with `keepsake checkout {name} -o DIR`, and run the command yourself."
        )
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValidationError(f"The command of experiment {name} is damaged: {command!r} ({error}).") from error
    if not words or words[0] in ("", "-", "-c"):
        raise ValidationError(f"Experiment {name} did not run a script, so there is no command to run again.")
    if words[0].endswith(".ipynb"):
        raise ValidationError(
            f"Experiment {name} ran in the notebook {words[0]}. Restore its files with `keepsake checkout {name} -o "
            "DIR`, and open the notebook there."
        )
    return words


# The script


def _script(recorded: str, directory: str, files: Collection[str]) -> tuple[str, str]:
    """Return the working directory, relative to the saved files, and the path of the script from there."""
    path = posixpath.normpath(recorded.replace("\\", "/"))  # it may have run on Windows
    is_absolute = re.match("/|[A-Za-z]:", path) is not None
    if not is_absolute and posixpath.normpath(posixpath.join(directory, path)) in files:
        return directory, path
    # If the path is absolute, as with `python -m`, or its working directory is unknown, its end identifies the file.
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts)):
        end = "/".join(parts[depth:])
        found = [name for name in files if name == end or name.endswith(f"/{end}")]
        if len(found) == 1:
            if is_absolute:
                return directory, posixpath.relpath(found[0], directory or ".")
            return found[0][: -len(end)].rstrip("/"), end
    raise ValidationError(
        f"The script {recorded} is not among the files that the experiment saved with init(path=…). "
        "Run it yourself in a checkout."
    )


# The settings


def _with_settings(words: list[str], settings: Mapping[str, object]) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Return the words with the new values, and what was changed. Raises ValidationError for what is not there."""
    words, changed, missing = list(words), {}, []
    for name, value in settings.items():
        place = _find(words, name)
        if place is None:
            missing.append(name)
            continue
        index, prefix = place
        changed[name] = (words[index][len(prefix) :], str(value))
        words[index] = f"{prefix}{value}"
    if missing:
        names = " and ".join(map(repr, missing))
        others = ", ".join(_names(words)) or "none"
        raise ValidationError(
            f"The command has no option for {names}: {shlex.join(words)}\n"
            f"It sets these: {others}. If the script has such an option, give it after --, such as: -- --{missing[0]} "
            f"{settings[missing[0]]}"
        )
    return words, changed


def _find(words: Sequence[str], name: str) -> tuple[int, str] | None:
    """Return the index of the last word that holds the value of an option, and what comes before the value in it."""
    wanted = _plain(name)
    for index in range(len(words) - 1, 0, -1):
        word = words[index]
        option, equals, _ = word.partition("=")
        if _plain(option) != wanted:
            continue
        if equals:
            return index, option + equals
        if word.startswith("-") and index + 1 < len(words) and not _is_option(words[index + 1]):
            return index + 1, ""
    return None


def _names(words: Sequence[str]) -> list[str]:
    """Return the names of the options that have a value."""
    named = (word.partition("=")[0].lstrip("-+") for word in words[1:] if word.startswith("-") or "=" in word)
    return list(dict.fromkeys(name for name in named if name and _find(words, name)))


def _plain(option: str) -> str:
    return option.lstrip("-+").replace("-", "_")


def _is_option(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word.startswith("-") and word != "-"
    return False  # a negative number
