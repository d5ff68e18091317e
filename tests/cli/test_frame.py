"""What all commands share: help, global options, errors and exit status, output to pipes."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from keepsake import version
from keepsake.cli import COMMANDS, cli, translate
from keepsake.exceptions import ReadError
from keepsake.repository.view import View
from keepsake.util import console
from tests.cli.conftest import Run, World, experiment, on_disk

LISTING = (
    "--all -c --columns --csv -f --filter --format --group --json --last --layout --limit -q --quiet -s --sort --watch"
)
OPTIONS = {
    "ls": f"{LISTING} -R --repository",
    "ps": f"{LISTING} -R --repository",
    "note": "-R --repository",
    "rename": "-R --repository",
    "tag": "--remove -R --repository",
    "show": "--all --json -R --repository",
    "diff": "--json --no-code --path --stat -R --repository",
    "files": "--depth --json --path -R --repository",
    "logs": "-n --tail -f --follow -R --repository",
    "cat": "-R --repository",
    "checkout": "-o --output-directory -f --force --path --undo -R --repository",
    "rm": "-f --force -R --repository",
    "import": "--again --as --goal --metric -n --dry-run --no-files -R --repository",
    "rerun": "-n --dry-run -o --output-directory --python --set -R --repository",
    "report": "-f --filter -m --metric --no-code -o --output --points --title -R --repository",
    "du": "--json -R --repository",
    "prune": "-f --force --keep -n --dry-run -R --repository",
    "doctor": "--fix --json --thorough -R --repository",
    "plot": "-f --filter -o --output --x --logy --smooth --by --importance -R --repository",
    "pull": "--thorough -R --repository",
    "push": "--thorough -R --repository",
    "sync": "-n --dry-run -f --force -R --repository",
    "completion": "",
    "analytics": "",
}


# Help


def test_help_lists_the_commands(run: Run) -> None:
    for args in ([], ["--help"], ["-h"], ["help"]):
        assert (
            run(*args).stdout
            == """\
Usage: keepsake [OPTIONS] COMMAND [ARGS]...

  Keepsake: version control for machine learning.

  Lists, compares and restores what training scripts have recorded with
  keepsake.init() and experiment.checkpoint().

Options:
  -R, --repository URL         Repository URL. Default: the one in keepsake.yaml
  -D, --project-directory DIR  Project directory. Default: nearest with a
                               keepsake.yaml
  --color / --no-color         Colors in output. Default: on a terminal
  -v, --verbose                Show where an error comes from: its traceback
  --version                    Show the version and exit.
  -h, --help                   Show this message and exit.

Commands:
  cat         Write a file of an experiment or checkpoint to stdout
  checkout    Copy files of an experiment or checkpoint into the project
  completion  Print the shell script that completes commands and IDs
  diff        Compare experiments or checkpoints: values, packages and files
  doctor      Find problems in the repository, and repair them
  du          Show what takes the space in the repository, by experiment
  files       List the saved files, or those that init() would save now
  import      Import the runs of MLflow, TensorBoard, W&B or trackio
  logs        Print what a run printed to stdout and stderr
  ls          List experiments in this project
  note        Write notes on an experiment
  plot        Draw a metric of experiments in the terminal, or as a picture
  prune       Delete the files of checkpoints that a policy does not keep
  ps          List running experiments in this project
  pull        Copy experiments from another repository
  push        Copy experiments to another repository
  rename      Give an experiment a name
  report      Make a page that shows experiments, to look at or to send
  rerun       Run the command of an experiment again, in a new directory
  rm          Remove experiments or checkpoints
  show        View information about an experiment or checkpoint
  sync        Send unsent runs on this machine to the repository
  tag         Add tags to an experiment, or remove them

Examples:
  keepsake ls                      list the experiments of this project
  keepsake show 5ffb0f6            show one experiment or checkpoint
  keepsake diff 5ffb0f6 a1b2c3d    compare two of them
  keepsake checkout 5ffb0f6        restore its code and weights

  Each command has examples: keepsake COMMAND --help
  To complete commands and IDs with the Tab key: keepsake completion --help
"""
        )
    assert list(COMMANDS) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(run: Run, name: str) -> None:
    shown = run(name, "--help").stdout
    assert run(name, "-h").stdout == run("help", name).stdout == shown
    assert f"Usage: keepsake {name} [OPTIONS]" in shown
    assert "\nExamples:\n" in shown
    assert f"keepsake {name}" in shown.split("\nExamples:\n")[1]
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_help_is_the_commands_own(name: str) -> None:
    """The list of commands is printed without importing them."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n")[0].rstrip(".") == COMMANDS[name].help
    assert len(COMMANDS[name].help) <= 64  # one line of the list, on a terminal with 80 columns
    assert command.hidden == COMMANDS[name].hidden


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_there(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} - {
        param.name for param in command.params if isinstance(param, click.Argument)
    }
    shared = "-D --project-directory --color --no-color -v --verbose --version"
    assert options == set(f"{OPTIONS[name]} {shared}".split())
    assert all(param.help for param in command.params if isinstance(param, click.Option))


@pytest.mark.parametrize("args", [["--version"], ["ls", "--version"], ["--version", "ls"]])
def test_the_version_is_printed(run: Run, args: list[str]) -> None:
    assert run(*args).stdout == f"keepsake version {version.__version__}\n"


def test_old_scripts_may_switch_analytics_off(run: Run) -> None:
    result = run("analytics", "off")
    assert (result.stdout, "no analytics" in result.stderr) == ("", True)


# Global options


@pytest.mark.parametrize("name", ["-D", "--project-directory"])
def test_the_project_directory_goes_before_or_after(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = str(three_runs.project)
    expected = "c90d1f4e55\na37c2e9d04\nb51e7a0f66\n"
    assert run(name, directory, "ls", "-q").stdout == run("ls", "-q", name, directory).stdout == expected
    assert "keepsake.yaml" in run("ls", status=1).stderr
    assert "'nothing' does not exist" in run("ls", name, "nothing", status=2).stderr
    (tmp_path / "empty").mkdir()
    assert "keepsake.yaml" in run("ls", name, "empty", status=1).stderr


def test_the_nearest_configuration_above_is_used(three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    below = three_runs.project / "some" / "where"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert run("ls", "-q").stdout.startswith("c90d1f4e55\n")


@pytest.mark.parametrize(
    "command", [["ls", "-q"], ["ps", "-q"], ["show", "a37"], ["diff", "a37", "b51"], ["rm", "-f", "a37"]]
)
def test_a_repository_can_be_named_anywhere(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "a37c2e9" in run(*command, "-R", three_runs.repository.url).output


def test_the_repository_may_stand_before_the_command(three_runs: World, run: Run) -> None:
    """0.4.2 takes it there."""
    assert "nothing" in run("--repository", "file://nothing", "ls", "-q", status=1).stderr
    assert run("-R", "file://nothing", "ls", "-q", "-R", three_runs.repository.url).stdout.startswith("c90d1f4e55\n")


def test_an_unknown_scheme_is_named(project_directory: Path, run: Run) -> None:
    for url in ("ftp://x", "repo"):
        message = run("ls", "--repository", url, status=1).stderr
        assert all(scheme in message for scheme in ("file://", "s3://", "gs://"))


def test_options_may_have_values_as_in_0_4_2(three_runs: World, run: Run) -> None:
    """Scripts for 0.4.2 may say `--json=true`, and `-R=URL`."""
    url = three_runs.repository.url
    assert run("--color=false", "ls", "--quiet=true", "--all=false", f"-R={url}").stdout.startswith("c90d1f4e55")
    assert translate(["ls", "--json=true", "--color=true", "--", "--all=false"]) == [
        "ls",
        "--json",
        "--color",
        "--",
        "--all=false",
    ]
    assert translate(["rm", "--force=false", "help"]) == ["rm", "help"]


def test_colors_can_be_switched(three_runs: World, run: Run) -> None:
    assert "\x1b[" in run("--color", "show", "a37").stdout
    assert "\x1b[" in run("show", "a37", "--color=true").stdout
    assert "\x1b[" not in run("show", "a37", "--no-color").stdout
    console.set_color(None)
    assert "\x1b[" not in run("show", "a37").stdout
    assert run("show", "zzz", "--color", status=1).stderr.startswith("\x1b[2m═══╡ \x1b[0m\x1b[31m")


# Errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sho"], "There is no command 'sho'. Did you mean 'show'"),
        (["lst"], "Did you mean 'ls'?"),
        (["compare"], "Did you mean 'diff'?"),
        (["restore"], "Did you mean 'checkout'?"),
        (["get"], "Did you mean 'show'?"),
        (["status"], "Did you mean 'ps'?"),
        (["undo"], "Did you mean 'checkout --undo'?"),
        (["LS"], "Did you mean 'ls'?"),
        (["delte"], "Did you mean 'rm'?"),
        (["5ffb0f6"], "Did you mean 'show 5ffb0f6'?"),
        (["init"], "A repository needs no setup"),
        (["export"], "`keepsake ls --csv`"),
        (["xyzzy"], "There is no command 'xyzzy'.\n"),
        (["ls", "--jsno"], "--json"),
        (["--json", "ls"], "The option '--json' comes after the command, as in 'keepsake ls --json'."),
        (["--undo"], "as in 'keepsake checkout --undo'"),
        (["--nope", "ls"], "No such option '--nope'"),
        (["ls", "extra"], "--filter extra"),
        (["show"], "Missing argument 'ID'. Give an ID that `keepsake ls` lists, or `latest` or `best`."),
        (["checkout"], "Missing argument 'ID'"),
        (["rm"], "Missing argument 'ID...'"),
        (["show", "a", "b"], "unexpected extra argument (b)"),
        (["diff", "a", "b", "c", "--stat"], "--path and --stat compare the files of two, not more."),
        (["rename", "a"], "Missing argument 'NAME'"),
        (["prune"], "Missing option '--keep'"),
        (["ls", "best"], "does not take 'best'. For one experiment: `keepsake show best`."),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_one_message_and_status_2(
    project_directory: Path, run: Run, args: list[str], message: str
) -> None:
    """One message that names the help, exit status 2."""
    result = run(*args, status=2)
    assert result.stdout == ""
    assert message in result.stderr
    assert "--help'." in result.stderr


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(View, "summaries", fail)


def test_an_error_is_one_message(project_directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ReadError("the disk is on fire\nput it out"))
    result = run("ls", status=1)
    assert (result.stdout, result.stderr) == ("", "═══╡ the disk is on fire\n   │ put it out\n")


@pytest.mark.parametrize("args", [["-v", "ls"], ["ls", "--verbose"]])
def test_verbose_shows_where(
    project_directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    failing(monkeypatch, ReadError("the disk is on fire"))
    shown = run(*args, status=1).stderr
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.endswith("═══╡ the disk is on fire\n")


def test_no_module_of_a_command_hides_what_the_package_defines() -> None:
    """Importing a submodule sets its name in the package, over a function of that name."""
    package = Path(str(sys.modules["keepsake.cli"].__file__))
    defined = {node.name for node in ast.parse(package.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}
    assert "main" in defined
    assert not defined & {path.stem for path in package.parent.glob("*.py")}


def test_the_unexpected_is_one_message_too(project_directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyError("x"))
    assert run("ls", status=1).stderr == (
        "═══╡ KeyError: 'x'\n   │ \n   │ This is unexpected. Run the command again with -v to see where it happened.\n"
    )
    assert "═══╡ KeyError: 'x'\n" in run("ls", "-v", status=1).stderr


def test_ctrl_c_ends_quietly_with_130(project_directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run("ls", status=130).output == "\n"


# In a process of its own


def keepsake(*args: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "keepsake", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, **options)


@on_disk
def test_a_reader_that_stops_early_causes_no_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status is 1, because the output was not all written."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it, Python does not notice
    world.add(experiment("e100000000", 0, user=1000000 * "x"), experiment("e200000000", 0))
    with keepsake("ls") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"EXPERIMENT")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@on_disk
def test_a_full_disk_is_reported(three_runs: World) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "keepsake", "ls"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert "No space left" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@on_disk
def test_what_a_terminal_cannot_show_is_escaped(world: World) -> None:
    world.add(experiment("e100000000", 0, command="train.py --name=日"))
    out, err = keepsake("show", "e10", env={**os.environ, "PYTHONIOENCODING": "latin-1"}).communicate(timeout=60)
    assert b"Command:         train.py --name=\\u65e5" in out
    assert err == b""


@on_disk
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp932", "gbk", "utf-8"])
def test_json_is_json_in_every_encoding(world: World, encoding: str) -> None:
    params = {"name": "café 🚀", "half": "\udce9", "\x9b": "\\"}
    world.add(experiment("e100000000", 0, params=params))
    out, _ = keepsake("ls", "--json", env={**os.environ, "PYTHONIOENCODING": encoding}).communicate(timeout=60)
    assert json.loads(out.decode(encoding))[0]["params"] == params
    assert encoding == "utf-8" or out.isascii()


@on_disk
@pytest.mark.skipif(os.name == "nt", reason="a directory that is in use cannot be deleted")
@pytest.mark.parametrize(
    "args",
    [
        ["ls"],
        ["show", "a37"],
        ["diff", "a37"],
        ["rm", "a37"],
        ["sync"],
        ["doctor"],
        ["checkout", "a37"],
        ["ls", "-D", "."],
    ],
)
def test_without_a_working_directory_a_command_says_so(three_runs: World, tmp_path: Path, args: list[str]) -> None:
    errors, status = in_a_deleted_directory(tmp_path, *args)
    assert status == 1
    assert "The working directory no longer exists" in errors
    assert "unexpected" not in errors


@on_disk
@pytest.mark.skipif(os.name == "nt", reason="a directory that is in use cannot be deleted")
def test_without_a_working_directory_a_project_can_be_named(three_runs: World, tmp_path: Path) -> None:
    assert in_a_deleted_directory(tmp_path, "ls", "-D", str(three_runs.project)) == ("", 0)
    for args in ("checkout a37 -o out", "checkout --undo -o out", "import mlruns"):
        errors, status = in_a_deleted_directory(tmp_path, *args.split(), "-D", str(three_runs.project))
        assert status == 1
        assert "The working directory no longer exists" in errors


def in_a_deleted_directory(parent: Path, *args: str) -> tuple[str, int]:
    """Run a command there; return what it says on stderr, and its status."""
    program = (
        "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); from keepsake.cli import main; main()"
    )
    command = [sys.executable, "-c", program, *args]
    done = subprocess.run(command, cwd=parent, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr, done.returncode


@on_disk
@pytest.mark.skipif(os.name == "nt", reason="descriptors are POSIX")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_may_be_closed(three_runs: World, closed: str) -> None:
    for args, status in (("ls", 0), ("show nothing", 1), ("lss", 2)):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m keepsake {args} {closed}"], capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (status, False)


@on_disk
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_at_a_question_ends_the_command_and_deletes_nothing(three_runs: World) -> None:
    process = keepsake("rm", "c90", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stdout is not None
    while process.stdout.read(1) != b"?":
        pass
    process.send_signal(signal.SIGINT)
    assert b"Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "metadata/experiments/c90d1f4e55.json" in three_runs.repository.listed()


def test_help_imports_no_command(run_python: Any) -> None:
    """What makes `keepsake --help` quick."""
    program = """
import sys
from keepsake.cli import cli
try:
    cli.main(["--help"])
except SystemExit:
    print(sorted(set(sys.modules) & {"keepsake.cli.ls", "keepsake.cli.show", "yaml"}))
"""
    assert run_python(program).endswith("\n[]\n")
