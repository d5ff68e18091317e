"""Which files a snapshot holds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepsake.exceptions import DoesNotExist, ReadError, ValidationError
from keepsake.util import ignore as _ignore
from keepsake.util.ignore import walk_files

Said = list[str]


@pytest.fixture(autouse=True)
def warnings_said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said: Said = []
    monkeypatch.setattr(_ignore, "warn", said.append)
    _ignore.leave_out.cache_clear()
    return said


def make(directory: Path, *names: str, ignore: str | None = None) -> Path:
    """Make empty files; a name that ends with a slash is a directory."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    if ignore is not None:
        (directory / ".keepsakeignore").write_text(ignore)
    return directory


def walk(directory: Path, path: str = ".") -> list[str]:
    found = list(walk_files(directory, path))
    assert all(file == str(directory / name) for name, file in found)
    return [name for name, _ in found if name != ".keepsakeignore"]


# The walk


def test_all_files_below_are_found_in_a_fixed_order(tmp_path: Path) -> None:
    make(tmp_path, "b.py", "a/z.txt", "a/deep/er/x", "a.txt", "empty/", "ünïcode/名前")
    assert walk(tmp_path) == ["a/deep/er/x", "a/z.txt", "a.txt", "b.py", "ünïcode/名前"]


@pytest.mark.parametrize(
    "path", ["data/weights", "./data/weights", "data//weights", "data/x/../weights", "data/weights/"]
)
def test_names_are_relative_to_the_project_not_to_the_path(tmp_path: Path, path: str) -> None:
    make(tmp_path, "data/weights", "data/x/", "other")
    if path.endswith("/"):
        path = "data/"
    assert walk(tmp_path, path) == ["data/weights"]


@pytest.mark.parametrize("path", ["/etc/hosts", "..", "../project/a", "a/../../b", "a\0b"])
def test_a_path_that_leads_out_of_the_project_is_refused(tmp_path: Path, path: str) -> None:
    make(tmp_path, "a")
    with pytest.raises(ValidationError) as caught:
        walk(tmp_path, path)
    assert repr(path) in str(caught.value)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DoesNotExist, match=r"'model\.pth'"):
        walk(tmp_path, "model.pth")


@pytest.mark.parametrize("name", [".keepsake", ".replicate", ".git"])
def test_directories_that_are_never_saved(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/x", f"sub/{name}/y/z", f"sub/{name}.txt", f"{name}ignored")
    assert walk(tmp_path) == [f"{name}ignored", f"sub/{name}.txt"]
    assert walk(tmp_path, name) == []
    assert walk(tmp_path, f"{name}/x") == []
    assert walk(tmp_path, f"sub/{name}/y") == []


@pytest.mark.parametrize("name", sorted(_ignore.LEFT_OUT_DIRECTORIES))
def test_caches_and_the_output_of_other_tools_are_left_out(tmp_path: Path, name: str) -> None:
    names = [f"{name}/x", f"sub/{name}/y/z", f"sub/{name}.txt", f"{name}2/x"]
    kept = sorted(names[2:])
    make(tmp_path, *names, "data/cache/x", "tmp/x")
    others = ["data/cache/x", "tmp/x"]
    assert sorted(walk(tmp_path)) == sorted(kept + others)
    anywhere = f"**/{name}" if "/" in name else name
    for line in (f"!{anywhere}", f"!{anywhere}/", f"!**/{name}/\n", f"!{anywhere}\r\n*.none"):
        (tmp_path / ".keepsakeignore").write_text(line)
        assert sorted(walk(tmp_path)) == sorted(names + others)
    make(tmp_path, ignore=f"!/{name}/\n")
    assert sorted(walk(tmp_path)) == sorted([*kept, *others, names[0]])
    make(tmp_path, ignore=f"!sub/{name}/y/z\n")
    assert sorted(walk(tmp_path)) == sorted([*kept, *others, names[1]])
    make(tmp_path, ignore=f"{anywhere}\n!{anywhere}\n")
    assert sorted(walk(tmp_path)) == sorted(names + others)


@pytest.mark.parametrize("rules", ["!*\n", "*\n!*.py\n", "!**/*.py\n", "*.txt\n!sub/\n", "!*.ckpt\n"])
def test_a_pattern_that_does_not_name_a_cache_does_not_bring_it_back(tmp_path: Path, rules: str) -> None:
    make(tmp_path, "sub/node_modules/x.py", "wandb/x.py", "sub/__pycache__/x.py", "x.py", ignore=rules)
    assert walk(tmp_path) == ["x.py"]


@pytest.mark.parametrize("path", ["lightning_logs", "lightning_logs/v0", "lightning_logs/v0/last.ckpt"])
def test_a_path_in_what_is_left_out_by_default_is_saved(tmp_path: Path, path: str) -> None:
    """Checkpoints lie there."""
    make(tmp_path, "lightning_logs/v0/last.ckpt", "lightning_logs/v0/__pycache__/x")
    assert walk(tmp_path, path) == ["lightning_logs/v0/last.ckpt"]


def test_what_is_left_out_by_default_costs_no_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "node_modules/x/y", "a", ignore="!b\n")
    scandir = os.scandir

    def only_the_top(path: str) -> Iterator[os.DirEntry[str]]:
        assert Path(path) == tmp_path
        return scandir(path)

    monkeypatch.setattr(os, "scandir", only_the_top)
    assert walk(tmp_path) == ["a"]


def test_virtual_environments_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "env/pyvenv.cfg", "env/lib/python/site.py", "deep/er/v/pyvenv.cfg", "train.py")
    assert walk(tmp_path) == ["train.py"]
    assert walk(tmp_path, "env/lib") == []


def test_environments_of_conda_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "env/conda-meta/history", "env/lib/libmkl.so", "docs/conda-meta", "train.py")
    assert walk(tmp_path) == ["docs/conda-meta", "train.py"]
    assert walk(tmp_path, "env/lib") == []


def test_a_project_that_is_a_virtual_environment_can_still_save_what_it_names(tmp_path: Path) -> None:
    """As a whole it is one, and left out. Files that are named belong to the project."""
    make(tmp_path, "pyvenv.cfg", "train.py", "data/x")
    assert walk(tmp_path) == []
    assert walk(tmp_path, "train.py") == ["train.py"]
    assert walk(tmp_path, "data") == ["data/x"]


def test_repositories_and_spools_are_left_out_wherever_they_are(tmp_path: Path) -> None:
    """This includes those that `push` or KEEPSAKE_SPOOL made, but not directories that only look similar."""
    entry = "0123456789abcdef" * 4
    make(tmp_path, "repo/repository.json", "repo/metadata/experiments/x.json", "repo/checkpoints/x.tar.gz")
    copied = ("repository.json", "metadata/experiments/", "experiments/x.tar.gz")
    make(tmp_path, *(f"deep/er/copy/{name}" for name in copied))
    make(tmp_path, f"spool/{entry}/record.json", f"spool/{entry}/{entry}.pack", "spool/mine")
    make(tmp_path, f"blobs/{entry}/data", "other/repository.json", "records/record.json")
    assert walk(tmp_path) == [f"blobs/{entry}/data", "other/repository.json", "records/record.json", "spool/mine"]
    for path in ("repo", "repo/checkpoints", "deep/er/copy/experiments", f"spool/{entry}"):
        assert walk(tmp_path, path) == []
    assert walk(tmp_path, "spool") == ["spool/mine"]


def test_a_repository_that_is_the_project_directory_itself(tmp_path: Path) -> None:
    """Only what it keeps is left out, not the project's files beside it."""
    make(tmp_path, "repository.json", "metadata/experiments/1.json", "metadata/heartbeats/1.json")
    make(tmp_path, "experiments/1.tar.gz", "checkpoints/1.tar.gz", "checkpoints/model.pth", "train.py")
    make(tmp_path, "identity.json", f"removed/{'1' * 16}.json", "orphaned/checkpoints/1.tar.gz", "removed/1.json")
    make(tmp_path, f"logs/{'1' * 64}-0-1.txt.gz", "logs/mine.txt.gz")
    assert walk(tmp_path) == ["checkpoints/model.pth", "logs/mine.txt.gz", "removed/1.json", "train.py"]


def test_what_other_processes_are_just_making_is_left_out(tmp_path: Path, warnings_said: Said) -> None:
    """Such as a repository that several runs begin at once, or the files of a checkout."""
    make(tmp_path, "repo/repository.json", "repo/identity.json", "new/.1f.keepsake-tmp", "train.py")
    make(tmp_path, ".keepsake-checkout-1_2_3_4")
    assert walk(tmp_path) == ["train.py"]
    assert not warnings_said


# Links and special files


def test_a_link_to_a_file_stands_for_its_content(tmp_path: Path, warnings_said: Said) -> None:
    make(tmp_path / "project", "a")
    make(tmp_path, "outside")
    (tmp_path / "project/inside.lnk").symlink_to("a")
    (tmp_path / "project/outside.lnk").symlink_to(tmp_path / "outside")
    assert walk(tmp_path / "project") == ["a", "inside.lnk", "outside.lnk"]
    assert warnings_said == []


def test_what_cannot_be_saved_is_left_out_with_one_warning_each(tmp_path: Path, warnings_said: Said) -> None:
    make(tmp_path, "a", "d/x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-directory").symlink_to("d")
    (tmp_path / "up").symlink_to("..")
    os.mkfifo(tmp_path / "fifo")
    assert walk(tmp_path) == walk(tmp_path) == ["a", "d/x"]
    assert sorted(Path(said.split(": ")[1]).name for said in warnings_said) == [
        "dangling", "fifo", "loop", "to-directory", "up",
    ]  # fmt: skip


def test_what_is_ignored_is_not_warned_about(tmp_path: Path, warnings_said: Said) -> None:
    make(tmp_path, "d/x", ignore="*.lnk\nlinked/\n")
    (tmp_path / "dangling.lnk").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to("d")
    assert walk(tmp_path) == ["d/x"]
    assert warnings_said == []


def test_a_link_to_a_directory_that_is_named_is_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "x/y")
    make(tmp_path / "project").mkdir()
    (tmp_path / "project/data").symlink_to(tmp_path / "elsewhere")
    assert walk(tmp_path / "project", "data") == ["data/x/y"]


def test_a_directory_that_cannot_be_read_is_left_out(
    tmp_path: Path, warnings_said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a", "secret/x", "z")
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert walk(tmp_path) == ["a", "z"]
    assert len(warnings_said) == 1
    assert "secret" in warnings_said[0]
    assert "Permission denied" in warnings_said[0]


def test_names_that_are_unsafe_elsewhere_are_left_out(tmp_path: Path, warnings_said: Said) -> None:
    """No archive may hold them, because every archive can be checked out everywhere."""
    make(tmp_path, "a", "back\\slash", "C:/x")
    assert walk(tmp_path) == ["a"]
    assert len(warnings_said) == 2


# Ignore rules

TREE = [
    "a.log", "a.txt", "b1.txt", "build/x", "data/big.bin", "data/labels.csv", "deep/build/y", "deep/er/c.log",
    "er/c.log", "logs/keep.log", "logs/x.log", "notes#1", "src/data/d.py", "src/train.py",
]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "left_out"),
    [
        ("", set()),
        ("# a.txt\n\n", set()),
        ("*.log", {"a.log", "deep/er/c.log", "er/c.log", "logs/keep.log", "logs/x.log"}),
        ("/a.log", {"a.log"}),
        ("data/", {"data/big.bin", "data/labels.csv", "src/data/d.py"}),
        ("/data/", {"data/big.bin", "data/labels.csv"}),
        ("/build", {"build/x"}),
        ("build", {"build/x", "deep/build/y"}),
        ("er/c.log", {"er/c.log"}),
        ("**/er/c.log", {"er/c.log", "deep/er/c.log"}),
        ("deep/**", {"deep/build/y", "deep/er/c.log"}),
        ("?.txt", {"a.txt"}),
        ("b[!0-9].txt", set()),
        ("b[0-9].txt", {"b1.txt"}),
        ("\\#*\nnotes\\#1", {"notes#1"}),
        ("a.txt\r\na.log\r\n", {"a.txt", "a.log"}),
        ("\ufeffa.txt", {"a.txt"}),
        ("data/*\n!data/labels.csv", {"data/big.bin"}),
        ("logs/\n!logs/keep.log", {"logs/x.log"}),
        ("deep/**/", {"deep/build/y", "deep/er/c.log"}),
        ("src/**/", {"src/data/d.py"}),
        ("src/**/**/ ", {"src/data/d.py"}),
        ("*\n!src/", set(TREE) - {"src/data/d.py", "src/train.py"}),
        ("*\n!/a.txt\n!/src/\n", set(TREE) - {"a.txt", "src/data/d.py", "src/train.py"}),
        ("*.log\n!logs/\n", {"a.log", "deep/er/c.log", "er/c.log"}),
        ("*\n!*/\n!*.py\n", set(TREE) - {"src/data/d.py", "src/train.py"}),
        ("*\n!**/\n!train.py\n", set(TREE) - {"src/train.py"}),
        ("!*.py\nsrc/\n", {"src/data/d.py", "src/train.py"}),
        ("*.log\n!keep.log", {"a.log", "deep/er/c.log", "er/c.log", "logs/x.log"}),
    ],
)
def test_rules_are_those_of_gitignore(tmp_path: Path, rules: str, left_out: set[str]) -> None:
    make(tmp_path, *TREE)
    (tmp_path / ".keepsakeignore").write_bytes(rules.encode())
    assert set(walk(tmp_path)) == set(TREE) - left_out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_rules_may_be_written_as_powershell_does(tmp_path: Path, encoding: str) -> None:
    make(tmp_path, "données/x", "a")
    bom = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / ".keepsakeignore").write_bytes(f"{bom}données/\r\n".encode(encoding))
    assert walk(tmp_path) == ["a"]


def test_rules_that_are_not_text_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a")
    (tmp_path / ".keepsakeignore").write_bytes("a\r\n".encode("utf-16-le"))
    with pytest.raises(ValidationError, match=r"has NUL bytes\. Save it as UTF-8"):
        walk(tmp_path)


SEGMENT = st.sampled_from(["a", "b", "*", "?", "a*", "?b", "[ab]", "[!a]", "ab"])
RULE = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "/", "**/"]),
    SEGMENT,
    st.sampled_from(["", "/a", "/b", "/ab", "/**"]),
    st.sampled_from(["", "/"]),
)


@given(rules=st.lists(RULE, min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rules_agree_with_git(tmp_path_factory: pytest.TempPathFactory, rules: list[str]) -> None:
    """Without negation, about which see walk_files, exactly what git ignores is left out."""
    names = ["a", "b/a", "ab/b", "b/ab/a", "b/b/ba", "aa/b/a/b", "bb"]
    directory = make(tmp_path_factory.mktemp("git"), *names, ignore="\n".join(rules))
    subprocess.run(["git", "init", "-q"], cwd=directory, check=True)
    listing = ["git", "ls-files", "--others", "--exclude-from=.keepsakeignore"]
    kept = subprocess.run(listing, cwd=directory, check=True, capture_output=True, text=True).stdout.split()
    assert sorted(walk(directory)) == sorted(set(kept) - {".keepsakeignore"})


def test_the_older_ignore_file_counts_where_there_is_no_newer_one(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    (tmp_path / ".replicateignore").write_text("a\n")
    assert walk(tmp_path) == [".replicateignore", "b"]
    make(tmp_path, ignore="b\n")
    assert walk(tmp_path) == [".replicateignore", "a"]


def test_only_the_project_directorys_ignore_file_counts(tmp_path: Path) -> None:
    make(tmp_path / "docs", "a", ignore="a")
    assert walk(tmp_path, "docs") == ["docs/.keepsakeignore", "docs/a"]


def test_a_file_that_is_named_is_saved_even_if_it_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, "out/model.pth", "out/log", ignore="*.pth\nout/\n")
    assert walk(tmp_path, "out/model.pth") == ["out/model.pth"]
    assert walk(tmp_path, "out") == []


@pytest.mark.parametrize(("rules", "visited"), [("data/\n", False), ("data/\n!*.csv\n", True)])
def test_an_ignored_directory_is_entered_only_if_something_may_come_back(
    tmp_path: Path, rules: str, visited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset of a million files must not cost a walk."""
    make(tmp_path, "data/1.csv", "data/2.bin", ignore=rules)
    seen = []
    scandir = os.scandir

    def watch(path: str) -> Iterator[os.DirEntry[str]]:
        seen.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watch)
    assert walk(tmp_path) == (["data/1.csv"] if visited else [])
    assert ("data" in seen) == visited


@pytest.mark.parametrize("rules", ["ok\n!\n", "[z-a]"])
def test_an_invalid_pattern_is_an_error_that_names_the_file(tmp_path: Path, rules: str) -> None:
    make(tmp_path, "a", ignore=rules)
    with pytest.raises(ValidationError, match=r"\.keepsakeignore"):
        walk(tmp_path)


def test_an_ignore_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a", ignore="a")

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ReadError, match="Permission denied"):
        walk(tmp_path)


def test_of_very_many_files_that_are_not_saved_only_the_first_are_named(tmp_path: Path, warnings_said: Said) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}").symlink_to("nowhere")
    assert list(walk_files(tmp_path, ".")) == []
    assert len(warnings_said) == 21
    assert "000: a dangling link." in warnings_said[0]
    assert "More files are not saved" in warnings_said[-1]
