"""Runs a program as if on Windows, as far as that can be done elsewhere: `python -m tests.windows PROGRAM.py`.

To the modules of this package, and to nobody else, `os`, `signal` and the like seem to be those of Windows: what it
lacks is missing, what it refuses is refused, and `sys.platform` says so. For everybody, a file that is open in this
process can be neither removed, replaced nor renamed, and no file gets a name that Windows cannot write.

It is no Windows: paths still have slashes, names tell upper from lower case, and other processes lock nothing.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib.machinery
import os
import re
import runpy
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any

_MISSING_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
_MISSING_NAMES = {
    os: """
        EX_.* F_.* GRND_.* MFD_.* NGROUPS_MAX POSIX_.* PRIO_.* P_PGID P_PID P_PIDFD P_ALL RTLD_.* RWF_.*
        SCHED_.* SEEK_DATA SEEK_HOLE SPLICE_.* ST_.* TMP_MAX W[A-Z]+ XATTR_.* O_ACCMODE O_ASYNC O_CLOEXEC
        O_DIRECT O_DIRECTORY O_DSYNC O_LARGEFILE O_NDELAY O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH
        O_RSYNC O_SYNC O_TMPFILE chown chroot confstr.* copy_file_range ctermid eventfd.* fchdir fchmod fchown
        fdatasync fork forkpty fpathconf fstatvfs fwalk get_blocking getegid geteuid getgid getgrouplist
        getgroups getloadavg getpgid getpgrp getpriority getrandom getres.id getsid getuid getxattr grantpt
        initgroups killpg lchown listxattr lockf login_tty major makedev memfd_create minor mkfifo mknod nice
        openpty pathconf.* pidfd_.* pipe2 posix_.* posix_openpt pread preadv ptsname pwrite pwritev readv
        register_at_fork removexattr sched_.* sendfile set_blocking setegid seteuid setgid setgroups setns
        setpgid setpriority setregid setresgid setresuid setreuid setsid setuid setxattr spawn[lv]p.* splice
        statvfs statvfs_result sync sysconf.* tcgetpgrp tcsetpgrp timerfd_.* ttyname uname uname_result unlockpt
        unshare wait wait3 wait4 waitid waitid_result writev""",
    select: "EPOLL.* POLL.* PIPE_BUF devpoll epoll kevent kqueue poll KQ_.*",
    signal: """
        ITIMER_.* SIG_BLOCK SIG_SETMASK SIG_UNBLOCK SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGHUP SIGIO SIGIOT
        SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGRTM.* SIGSTKFLT SIGSTOP SIGSYS SIGTRAP SIGTSTP SIGTTIN
        SIGTTOU SIGURG SIGUSR. SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ Sigmasks alarm getitimer pause
        pidfd_send_signal pthread_.* setitimer siginterrupt sigpending sigtimedwait sigwait.* struct_siginfo""",
    time: "CLOCK_.* clock_.* pthread_getcpuclockid tzset",
    subprocess: "",
    sys: "abiflags getdlopenflags setdlopenflags",
}
_UNWRITABLE = re.compile(r'[<>:"|?*\0-\x1f]|[ .]$')
_written: set[int] = set()  # open files
_SIGNALS = (signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGINT, signal.SIGSEGV, signal.SIGTERM)


class _StandIn(ModuleType):
    """A module of Windows. What is set here is set in the real module."""

    def __init__(self, real: ModuleType, missing: str, **own: Any) -> None:
        super().__init__(real.__name__)
        vars(self).update(own, _real=real, _missing=re.compile("|".join(missing.split()) or "(?!)"))

    def __getattr__(self, name: str) -> Any:
        if self._missing.fullmatch(name):
            raise AttributeError(f"module {self._real.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._real, name, value)


def _refuse(number: int, text: str, path: object = None) -> OSError:
    return OSError(number, f"{text}, as on Windows", path)


def _check_unused(path: Any) -> None:
    """Raise PermissionError if this process has a file open, or one below a directory."""
    try:
        status = os.lstat(path)
    except OSError:
        return  # the call itself says so
    below = f"{os.path.realpath(path)}/"
    for name in os.listdir("/dev/fd"):
        try:
            is_it = os.path.samestat(status, os.fstat(int(name)))
            is_below = stat.S_ISDIR(status.st_mode) and os.readlink(f"/dev/fd/{name}").startswith(below)
        except OSError:
            continue
        if is_it or is_below:
            raise _refuse(errno.EACCES, "The process cannot access the file because it is being used", path)


def _check_writable(path: Any) -> None:
    name = os.path.basename(os.fsdecode(path))
    if _UNWRITABLE.search(name) and not os.path.lexists(path):
        raise _refuse(errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", path)


def _checked(function: Callable[..., Any], *checks: Callable[[Any], None] | None) -> Callable[..., Any]:
    """Return a function that first checks its first arguments, each in its own way."""

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        for argument, check in zip(arguments, checks, strict=False):
            if check is not None and not isinstance(argument, int):
                check(argument)
        return function(*arguments, **options)

    return partial(checked)  # a function would become a method where pathlib of Python 3.10 takes it


def _open(path: Any, flags: int, mode: int = 0o777) -> int:
    if os.path.isdir(path):
        raise _refuse(errno.EACCES, "Permission denied", path)
    return os.open(path, flags, mode)


def _write(descriptor: int, data: Any) -> int:
    _written.add(descriptor)
    return os.write(descriptor, data)


def _close(descriptor: int) -> None:
    """Close a file. One that was written gets the time of now, whatever time it was given meanwhile."""
    if descriptor in _written:
        _written.remove(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.utime(descriptor)
    os.close(descriptor)


def _fsync(descriptor: int) -> None:
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise _refuse(errno.EBADF, "Bad file descriptor")
    os.fsync(descriptor)


def _kill(number: int, what: int) -> None:
    assert what != 0, "on Windows, this sends Ctrl-C to another process"
    os.kill(number, what)


def _symlink(source: Any, target: Any, target_is_directory: bool = False) -> None:
    raise _refuse(errno.EINVAL, "A required privilege is not held by the client", source)


def _signal(number: int, handler: Any) -> Any:
    if number not in _SIGNALS:
        raise ValueError("invalid signal value")
    return signal.signal(number, handler)


def _select(*arguments: Any) -> Any:
    raise _refuse(errno.ENOTSOCK, "An operation was attempted on something that is not a socket")


def _popen(*arguments: Any, **options: Any) -> Any:
    for name in ("pass_fds", "preexec_fn", "start_new_session", "process_group", "user", "group", "umask"):
        if options.get(name):
            raise ValueError(f"{name} is not supported on Windows platforms")
    return subprocess.Popen(*arguments, **options)


_OWN: dict[ModuleType, dict[str, Any]] = {
    os: {
        "O_BINARY": 0,
        "close": _close,
        "fsync": _fsync,
        "kill": _kill,
        "name": "nt",
        "open": _open,
        "supports_dir_fd": set(),
        "supports_fd": {os.stat},
        "supports_follow_symlinks": {os.stat},
        "symlink": _symlink,
        "write": _write,
    },
    select: {"select": _select},
    signal: {"signal": _signal},
    subprocess: {"Popen": _popen},
    sys: {"platform": "win32"},
}
_STAND_INS = {real: _StandIn(real, missing, **_OWN.get(real, {})) for real, missing in _MISSING_NAMES.items()}


def _import(name: str, *arguments: Any, **options: Any) -> Any:
    if name in _MISSING_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows")
    module = builtins.__import__(name, *arguments, **options)
    return _STAND_INS.get(module, module)


def _deceive_own_modules() -> None:
    execute = importlib.machinery.SourceFileLoader.exec_module

    def exec_module(self: Any, module: ModuleType) -> None:
        if module.__name__.partition(".")[0] == "keepsake":
            vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        execute(self, module)

    importlib.machinery.SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign]


def _guard_open_files() -> None:
    os.unlink = os.remove = _checked(os.unlink, _check_unused)
    os.rmdir = _checked(os.rmdir, _check_unused)
    os.rename = _checked(_checked(os.rename, _check_unused, _check_writable), None, _check_absent)
    os.replace = _checked(_checked(os.replace, _check_unused, _check_unused), None, _check_writable)
    os.link = _checked(os.link, None, _check_writable)
    os.mkdir = _checked(os.mkdir, _check_writable)


def _check_absent(path: Any) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists, as on Windows", path)


def pretend() -> None:
    """Make this process seem to run on Windows. Call it before the package is imported."""
    assert not any(name.partition(".")[0] == "keepsake" for name in sys.modules)
    _guard_open_files()
    _deceive_own_modules()


if __name__ == "__main__":
    pretend()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
