"""What a program prints is kept, and appears as it would without: whatever prints it, and however the program ends."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.experiment import Experiment
from keepsake.recording import capture
from tests.waiting import wait_until

posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and forks are POSIX")
pytestmark = [pytest.mark.usefixtures("project_directory"), posix]

BEGIN = """
import os, signal, subprocess, sys, time
import keepsake
experiment = keepsake.init(quiet=True, capture_output=True)
"""


def start(program: str, begin: str = BEGIN, **options: Any) -> subprocess.Popen[bytes]:
    Path("run.py").write_text(begin + textwrap.dedent(program))
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "run.py"], **pipes)


def run(program: str, begin: str = BEGIN, status: int = 0, **options: Any) -> tuple[str, str, str]:
    """Run a script; return its stdout, its stderr, and what was kept of both."""
    process = start(program, begin, **options)
    out, err = end(process)
    assert process.returncode == status, err
    return out, err, latest().logs()


def latest() -> Experiment:
    return max(keepsake.experiments.list(), key=lambda experiment: experiment.created)


def end(process: subprocess.Popen[bytes], input: bytes | None = None) -> tuple[str, str]:
    """Wait for the end of a script; return its stdout and stderr."""
    out, err = process.communicate(input, timeout=60)
    return (out or b"").decode(), (err or b"").decode()


def helpers() -> list[str]:
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if "util/tee.py" in line]


def test_whatever_prints_is_heard_and_appears_as_before() -> None:
    program = """
        import multiprocessing
        print("python")
        os.write(1, b"descriptor\\n")
        subprocess.run(["echo", "child"])
        if os.fork() == 0:
            print("fork", flush=True)
            os._exit(0)
        os.wait()
        try:
            os.wait()
        except ChildProcessError:
            print("no other child", file=sys.stderr)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(print, ["pool"])
        print("\\r10%\\r20%", file=sys.stderr)
        raise ValueError("diverged")
    """
    out, err, kept = run(program, status=1)
    plain_out, plain_err, _ = run(program, BEGIN.replace("True)", "True)\nexperiment.stop()"), status=1)
    assert (out, re.sub(r"line \d+", "", err)) == (plain_out, re.sub(r"line \d+", "", plain_err))
    assert set(out.splitlines()) == {"python", "descriptor", "child", "fork", "pool"}
    assert sorted(kept.splitlines()) == sorted([*out.splitlines(), *err.replace("\r10%\r", "").splitlines()])
    assert kept.splitlines()[-1] == "ValueError: diverged"


@pytest.mark.parametrize(("options", "order"), [({"stderr": subprocess.STDOUT}, "one two three")])
def test_the_order_of_both_streams_is_kept_where_they_go_to_one_place(options: dict[str, Any], order: str) -> None:
    out, _, kept = run("for n in ('one', 'two', 'three'): os.write(1 + (n == 'two'), n.encode() + b' ')", **options)
    assert out.strip() == kept.strip() == order


def test_a_terminal_stays_one() -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 77, 0, 0))
    process = start(
        """
        print(sys.stdout.isatty(), os.isatty(2), os.get_terminal_size())
        print("\\x1b[32mgreen\\x1b[0m\\x1b]0;title\\x07")
        """,
        stdout=slave,
        stderr=slave,
    )
    end(process)
    os.close(slave)
    shown = b""
    while not shown.endswith(b"\x07\r\n"):
        shown += os.read(master, 1000)
    os.close(master)
    size = "os.terminal_size(columns=77, lines=7)"
    assert shown.decode() == f"True True {size}\r\n\x1b[32mgreen\x1b[0m\x1b]0;title\x07\r\n"
    assert latest().logs() == f"True True {size}\n\x1b[32mgreen\x1b[0m\n"


@pytest.mark.parametrize(("number", "last"), [(signal.SIGTERM, "here\n"), (signal.SIGINT, "KeyboardInterrupt\n")])
def test_a_signal_loses_nothing(number: int, last: str) -> None:
    # Short sleeps, because no sleep of Python ends by a signal that arrives just before it begins
    process = start("print('here', flush=True)\nfor _ in range(600): time.sleep(0.1)")
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    process.send_signal(number)
    end(process)
    assert latest().logs().endswith(last)


def test_a_kill_loses_nothing_that_had_left_the_program() -> None:
    process = start("for n in range(2000): print(n, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)")
    out, _ = end(process)
    assert out.split() == [str(number) for number in range(2000)]
    wait_until(lambda: list(Path().glob(".keepsake/spool/*/*.log")))
    assert latest().logs() == out  # from the spool
    assert [sent.error for sent in keepsake.Project().sync()] == [None]
    assert not Path(".keepsake/spool").exists() or not list(Path().glob(".keepsake/spool/*/*"))
    assert latest().logs() == out
    assert latest().output == {"lines": 2000, "size": len(out)}


def test_the_death_of_the_process_that_keeps_it_stops_nobody() -> None:
    before = helpers()
    process = start("input()\nfor n in range(30_000): print(n)\nsubprocess.run(['echo', 'child'])", stdin=-1)
    wait_until(lambda: len(helpers()) == len(before) + 1)
    (helper,) = set(helpers()) - set(before)
    os.kill(int(helper), signal.SIGKILL)
    out, err = end(process, b"\n")
    assert process.returncode == 0
    printed = "".join(f"{n}\n" for n in range(30_000)) + "child\n"
    assert Counter(out) == Counter(printed)
    assert len(set(printed.split()) - set(out.split())) <= 2  # what is printed at the switch may overtake half a line
    assert err.count("The run goes on.") == 1


def test_a_full_disk_stops_nobody_and_is_said_once() -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    program = "for n in range(20_000): print(n)\nsys.stdout.flush(); time.sleep(1.5)"
    out, err, kept = run(program, limit + BEGIN, stdout=subprocess.PIPE)
    assert len(out.split()) == 20_000
    assert err.count("cannot be kept now: File too large") == 1
    assert out.startswith(kept)
    assert len(kept) == 50_000


def test_a_reader_that_goes_stops_nobody() -> None:
    reader, writer = os.pipe()
    process = start("for n in range(50_000): print(n)\nprint('end')", stdout=writer)
    os.close(writer)
    os.close(reader)
    end(process)
    assert process.returncode == 0
    assert latest().logs().endswith("\n49999\nend\n")


@pytest.mark.parametrize("closed", ["1", "2", "1 2"])
def test_closed_streams_stay_closed(closed: str) -> None:
    close = f"import os\nfor descriptor in ({','.join(closed.split())},): os.close(descriptor)\n"
    restart = f"{close}import sys\nos.execv(sys.executable, [sys.executable, 'train.py'])"
    Path("train.py").write_text(
        BEGIN
        + textwrap.dedent(f"""
        file = open("file", "w")  # may get the number of a closed one
        print("out", file=sys.stdout or file)
        print("err", file=sys.stderr or file)
        subprocess.run(["echo", "child"]) if 1 not in ({closed.replace(" ", ",")},) else None
        experiment.stop()
        file.write("still open")
        """)
    )
    process = start("", restart)
    end(process)
    assert process.returncode == 0
    assert "still open" in Path("file").read_text()
    expected = {"1": ["err"], "2": ["child", "out"], "1 2": []}
    assert sorted(latest().logs().split()) == expected[closed]


def test_several_runs_each_have_what_was_printed_during_them() -> None:
    run("""
        identity = lambda: (os.fstat(1).st_ino, os.fstat(2).st_ino)
        during = identity()
        print("a", flush=True)
        while "a" not in experiment.logs():
            time.sleep(0.01)
        second = keepsake.init(params={"n": 2}, quiet=True, capture_output=True)
        print("b", flush=True)
        experiment.stop()
        print("c", flush=True)
        assert identity() == during
        second.stop()
        assert identity() != during
        print("d", flush=True)
        with keepsake.init(params={"n": 3}, quiet=True, capture_output=True):
            print("e", flush=True)
        assert identity() != during
    """)
    kept = {(run.params or {}).get("n", 1): run.logs().split() for run in keepsake.experiments.list()}
    assert {number: [word for word in words if len(word) == 1] for number, words in kept.items()} == {
        1: ["a", "b"],
        2: ["b", "c"],
        3: ["e"],
    }


def test_a_run_that_is_gone_on_with_appends() -> None:
    _, _, first = run("print('first')\nos.environ['NEVER'] = ''")
    again = BEGIN.replace("quiet=True", "quiet=True, resume='latest'")
    _, _, both = run("print('second')", again)
    assert both == f"{first}--- restart 1 ---\nsecond\n"
    run("print('third')", again.replace("capture_output=True", "capture_output=False"))
    assert latest().logs() == both


def test_offline_it_waits_for_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    monkeypatch.setenv("KEEPSAKE_CAPTURE_OUTPUT", "1")
    run("print('printed')", BEGIN.replace(", capture_output=True", ""))
    assert not Path("repo/logs").exists()
    keepsake.Project().sync()
    assert latest().logs() == "printed\n"
    assert len(list(Path("repo/logs").iterdir())) == 1


def test_only_the_first_process_of_a_job_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_RANK", "1")
    process = start("print(os.fstat(1).st_ino)\nexperiment.stop()\nprint(os.fstat(1).st_ino)")
    out, _ = end(process)
    assert len(set(out.split())) == 1
    assert not Path(".keepsake").exists()


class Cell(io.StringIO):
    """A stream as notebooks have it: it writes to no descriptor."""


class Log:
    """A stream as many scripts make it: it writes to the real one too."""

    def __init__(self, terminal: Any) -> None:
        self.terminal = terminal
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.terminal.write(text)
        self.lines.append(text)

    def flush(self) -> None:
        self.terminal.flush()


@pytest.mark.parametrize("executable", [sys.executable, "/opt/blender"])
def test_streams_without_a_descriptor_are_heard(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook, or where no other process can be started."""
    monkeypatch.setattr(sys, "executable", executable)
    cell = Cell()
    monkeypatch.setattr(sys, "stdout", cell)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with keepsake.init(quiet=True, capture_output=True) as experiment:
        print("in a cell\r10%\r20%")
    print("after")
    assert experiment.logs() == "in a cell\r10%\r20%\n".rpartition("\r")[2]
    assert cell.getvalue() == "in a cell\r10%\r20%\nafter\n"
    assert "write" not in vars(cell)


def test_nothing_is_heard_twice() -> None:
    log = textwrap.dedent("""
        import sys
        class Log:
            def __init__(self, terminal): self.terminal = terminal
            def write(self, text): self.terminal.write(text)
            def flush(self): self.terminal.flush()
        sys.stdout = Log(sys.stdout)
    """)
    out, _, kept = run("print('once')", log + BEGIN)
    assert out == kept == "once\n"


def test_where_it_cannot_be_kept_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(capture, "Capture", refuse)
    with keepsake.init(quiet=True, capture_output=True) as experiment:
        experiment.checkpoint(metrics={"loss": 1})
    assert "What the program prints is not kept: can't start new thread. The run goes on." in capsys.readouterr().err
