"""Privacy: temporary files, secrets in commands and URLs, and no connection to anywhere else."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

import keepsake as library
from keepsake.exceptions import KeepsakeError
from tests.faults.programs import keepsake as command
from tests.faults.programs import run

pytestmark = pytest.mark.usefixtures("project")

SECRET = "s3cr3t-V4lue"

# Looks at every file-system entry that is made, at the moment it is made, before anybody could see it
_WATCH = """
import os, stat, sys

class _Watching:  # a function would become a method where pathlib of Python 3.10 takes it
    def __init__(self, call):
        self.call, self.real = call, getattr(os, call)

    def __call__(self, path, *arguments, **options):
        result = self.real(path, *arguments, **options)
        made = self.call == "mkdir" or (arguments and arguments[0] & os.O_CREAT)
        if made and isinstance(path, (str, os.PathLike)):
            where = os.path.abspath(os.fspath(path))
            mode = stat.S_IMODE(os.lstat(where).st_mode)
            os.write(1, f"{self.call} {oct(mode)} {where}\\n".encode())
        return result

os.open, os.mkdir = _Watching("open"), _Watching("mkdir")
os.umask(0)
import keepsake
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_what_is_only_for_us_is_private_from_the_first_moment(project: Path, tmp_path: Path) -> None:
    """Entries of the spool, what a checkout keeps and stages, the index: 0700 and 0600, whatever the umask."""
    output, _ = run(
        _WATCH
        + """
experiment = keepsake.init(path="train.py")
checkpoint = experiment.checkpoint(path="train.py", quiet=True)
experiment.stop()
open("train.py", "w").write("other")
checkpoint.checkout(".", quiet=True)
checkpoint.open("train.py").close()
keepsake.default_project.workplace.view.summaries()
""",
        TMPDIR=str(tmp_path),
    )
    home = Path(os.environ["HOME"])
    made = [line.split(" ", 2) for line in output.splitlines()]
    private = [
        f"{project}/.keepsake/spool/",
        f"{project}/.keepsake/checkout-",
        f"{project}/.keepsake/undo",
        f"{home}/.cache/keepsake/",
    ]
    seen = set()
    for _, mode, path in made:
        for place in private:
            if path.startswith(place):
                seen.add(place)
                assert int(mode, 8) & 0o077 == 0 or _is_within_private(path, place), f"{path} is made with {mode}"
    assert len(seen) == len(private) - 1  # `undo` comes by renaming


def _is_within_private(path: str, place: str) -> bool:
    """Whether a directory above `path` keeps others out (as that of an entry does for what is in it)."""
    return path.removeprefix(place).strip("/").count("/") > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_what_stays_is_private(project: Path) -> None:
    """The spool of a run that was killed, the undo area and the index cannot be read by other users."""
    run(
        """
        import os, signal, keepsake
        os.umask(0)
        experiment = keepsake.init(path="train.py")
        checkpoint = experiment.checkpoint(path="train.py", quiet=True)
        experiment.stop()
        open("train.py", "w").write("other")
        checkpoint.checkout(".", quiet=True)
        keepsake.default_project.workplace.view.summaries()
        keepsake.init().checkpoint(path="train.py", quiet=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-9,
    )
    (entry,) = [path for path in (project / ".keepsake/spool").iterdir() if path.is_dir()]
    index = Path(os.environ["XDG_CACHE_HOME"], "keepsake/index")
    for directory in (entry, project / ".keepsake/undo", index):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_directory_that_somebody_planted_is_not_used(project: Path, tmp_path: Path) -> None:
    """Names of temporary files cannot be guessed, and none is opened that was there before."""
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("keepsake", "keepsake-0", ".keepsake", "spool", "checkout"):
        (tmp_path / "tmp" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "tmp" / name).symlink_to(trap)
    run(
        """
        import keepsake
        experiment = keepsake.init(path="train.py")
        checkpoint = experiment.checkpoint(path="train.py", quiet=True)
        experiment.stop()
        checkpoint.open("train.py").close()
        checkpoint.checkout("out", quiet=True)
        """,
        TMPDIR=str(tmp_path / "tmp"),
    )
    assert list(trap.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--password", SECRET],
        [f"--password={SECRET}"],
        ["--api-key", SECRET],
        [f"--hf_token={SECRET}"],
        ["--aws-secret-access-key", SECRET],
        [f"WANDB_API_KEY={SECRET}"],
        [f"--db=postgres://user:{SECRET}@host/base"],
        [f"https://user:{SECRET}@host/x?y"],
        [f"https://{SECRET}@host"],
        [f"--url=redis://:{SECRET}@host"],
    ],
)
def test_secrets_in_the_command_are_not_stored(project: Path, arguments: list[str]) -> None:
    """Neither in the repository, nor in the spool, nor on stderr."""
    output, messages = run(
        f"""
        import sys
        sys.argv += {arguments!r}
        import keepsake
        experiment = keepsake.init(path="train.py")
        experiment.checkpoint(path="train.py")
        print(open(next(experiment._run.entry.directory.glob("record.json"))).read())
        """
    )
    assert SECRET not in output + messages
    assert "script" in output
    for file in (project / "repo").rglob("*.json"):
        assert SECRET not in file.read_text()
    assert SECRET not in "".join(command("show", library.experiments.list()[0].id))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-tokens", "512"],
        ["--tokenizer", "gpt2"],
        ["--num_tokens=5"],
        ["--key", "value"],
        ["--monkey=1"],
        ["--author", "a@b"],
    ],
)
def test_what_only_looks_like_a_secret_is_kept(arguments: list[str]) -> None:
    """A command is recorded to be run again."""
    run(f"import sys\nsys.argv += {arguments!r}\nimport keepsake\nkeepsake.init()")
    assert " ".join(arguments) in str(library.experiments.list()[0].command)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://user:{SECRET}@bucket/root",
        f"gs://{SECRET}@bucket/root",
        f"http://user:{SECRET}@host/root",
        f"http://user:{SECRET}/with/slashes@host/root",
        f"ftp://{SECRET}@host",
    ],
)
def test_secrets_in_the_url_are_not_printed(project: Path, url: str) -> None:
    """Whatever goes wrong with it, and in whatever command."""
    (project / "keepsake.yaml").write_text(f"repository: {url}\n")
    said = "".join([*command("ls", status=1), *command("sync", status=None), *command("ls", "-R", url, status=1)])
    program = """
    import keepsake
    from keepsake.recording import contact
    contact._DEADLINE_SECONDS = 1
    try:
        keepsake.init()
    except keepsake.exceptions.KeepsakeError as error:
        print(error)
    """
    output, messages = run(program, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1")
    assert SECRET not in said + output + messages


def test_no_connection_is_made_for_a_local_repository() -> None:
    """Recording, reading, every command: no socket but those within the machine is even made."""
    guard = """
import sys
made = []
def _guard(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname", "socket.__new__"):
        made.append((event, str(arguments)))
    if event == "socket.__new__" and int(arguments[1]) != 1:
        made.append((event, str(arguments[1:])))
sys.addaudithook(_guard)
"""
    program = """
import keepsake
experiment = keepsake.init(path="train.py", params={"a": 1})
for number in range(3):
    checkpoint = experiment.checkpoint(path="train.py", metrics={"loss": number}, primary_metric=("loss", "minimize"))
experiment.stop()
keepsake.experiments.list()[0].refresh()
checkpoint.checkout("out")
checkpoint.open("train.py").close()
from keepsake.cli import cli
for command in (["ls"], ["ps"], ["show", experiment.id], ["diff", checkpoint.id, experiment.id], ["sync"],
                ["checkout", "-f", "-o", "out", checkpoint.id], ["analytics", "off"], ["rm", "-f", experiment.id]):
    try:
        cli.main(command)
    except SystemExit as ending:
        assert not ending.code, (command, ending.code)
assert made == [], made
"""
    run(guard + program)
    # The guard itself sees what it should
    run(
        guard
        + "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9))\nexcept OSError:\n    pass\nassert made"
    )


def test_yaml_and_url_of_strangers_do_nothing_but_fail(project: Path) -> None:
    """keepsake.yaml comes with a project by somebody else: no code in it runs, and it cannot fill the memory."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    for text in (
        "repository: !!python/object/apply:os.system ['touch owned']\n",
        "!!python/object/apply:os.system ['touch owned']\n",
        bomb,
        "repository: *nowhere\n",
        "repository: file://repo\n---\nrepository: file://other\n",
        "repository: [" * 10_000,
        "\x00",
        "repository: file://re\x1b[31mpo\n",
    ):
        (project / "keepsake.yaml").write_text(text)
        with pytest.raises(KeepsakeError):
            library.Project(directory=project).experiments.list()
        output, messages = command("ls", status=1)
        assert "unexpected" not in messages
        assert "\x1b" not in output + messages
    assert not (project / "owned").exists()


def test_files_that_usually_hold_secrets_are_warned_about_once(project: Path) -> None:
    """A snapshot of a whole directory may take them along; the person is told, and what to do."""
    (project / "id_rsa").write_text("secret")
    (project / "data").mkdir()
    (project / "data/.env.local").write_text("secret")
    _, messages = run(
        """
        import keepsake
        experiment = keepsake.init(path=".")
        for number in range(3):
            experiment.checkpoint(path=".", quiet=True)
        """
    )
    assert messages.count(".env.local") == 1
    assert messages.count("id_rsa") == 1
    assert ".keepsakeignore" in messages
