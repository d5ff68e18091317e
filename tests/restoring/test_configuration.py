"""A checkout that changes keepsake.yaml says where the repository is before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.restoring.checkout import checkout
from keepsake.restoring.origins import Source
from keepsake.restoring.undo import undo
from keepsake.storage.disk import DiskStorage
from tests.archive.archives import write_files
from tests.restoring.projects import (
    Make,
    plan_of,
)

CONFIGURATIONS = [
    ({"keepsake.yaml": b"repository: s3://kim:secret@new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
    ({"keepsake.yml": b"repository: s3://new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
    ({"replicate.yaml": b"repository: s3://new/place\n"}, {"keepsake.yml": b"repository: file://old\n"}),
    ({"../keepsake.yaml": b"repository: s3://new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
]


@pytest.mark.parametrize(("ours", "theirs"), CONFIGURATIONS)
def test_a_configuration_that_points_elsewhere_is_reported_before_and_after(
    make: Make, tmp_path: Path, warnings_said: list[str], ours: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    directory = write_files(tmp_path / "project", {**ours, "mine": b""})
    archive = make({**theirs, "a": b"1"})
    plan_of([archive], directory)
    (announced,) = warnings_said
    assert "will be file://old instead of s3://new/place" in announced
    checkout([archive], directory)
    assert "is now file://old instead of s3://new/place" in warnings_said[-1]
    assert "--undo" in warnings_said[-1]
    assert "secret" not in "".join(warnings_said)
    undo(directory)
    assert "is now s3://new/place instead of file://old" in warnings_said[-1]


def test_a_configuration_in_a_folder_is_reported_too(make: Make, tmp_path: Path, warnings_said: list[str]) -> None:
    """What runs there would use another repository. A copy of the whole project is expected to have it."""
    files = {"keepsake.yaml": b"repository: file:///old\n", "a/b/keepsake.yml": b"repository: s3://new/place\n"}
    checkout([make(files)], tmp_path / "copy")
    assert warnings_said == []
    directory = write_files(tmp_path / "used", {"keepsake.yaml": files["keepsake.yaml"], "a/mine": b""})
    for _ in range(2):
        checkout([make(files)], directory)
    assert [
        f"{directory}/a/b {verb} s3://new/place instead of" in text
        for verb, text in zip(("will be", "is now"), warnings_said, strict=True)
    ] == [True, True]


@pytest.mark.parametrize(
    ("url", "is_another"),
    [("file://.keepsake", False), ("file://{}/repo/", False), ("s3://new/place", True), ("file:///new", True)],
)
def test_a_new_directory_that_will_use_another_repository_is_reported(
    make: Make, tmp_path: Path, warnings_said: list[str], url: str, is_another: bool
) -> None:
    """A copy uses the repository of its files, unless a configuration among them names another one."""
    archive = make({"keepsake.yaml": f"repository: {url.format(tmp_path)}\n".encode()})
    source = Source(DiskStorage(tmp_path / "repo"), "1" * 64, None)
    checkout([archive], tmp_path / "new", source=source)
    assert [f"will be kept in {url}" in text and source.storage.url in text for text in warnings_said] == (
        [True] if is_another else []
    )


def test_a_configuration_that_can_no_longer_be_read_is_reported(
    make: Make, tmp_path: Path, warnings_said: list[str]
) -> None:
    write_files(tmp_path, {"keepsake.yaml": b"repository: file://old\n"})
    checkout([make({"keepsake.yaml": b"repository: ["})], tmp_path)
    assert all("cannot be read instead of file://old" in text for text in warnings_said)
    assert len(warnings_said) == 2


def test_a_relative_repository_of_the_directory_above_is_another_one(
    make: Make, tmp_path: Path, warnings_said: list[str]
) -> None:
    """This concerns a directory in use. A copy beside the project is expected."""
    config = {"keepsake.yaml": b"repository: file://repo\n"}
    write_files(tmp_path, {**config, "used/mine": b""})
    checkout([make(config)], tmp_path / "new")
    assert warnings_said == []
    checkout([make(config)], tmp_path / "used")
    assert [str(tmp_path) in text for text in warnings_said] == [True, True]


@pytest.mark.parametrize("ours", [b"# mine\nrepository: file://old\n", b"repository: [", None])
def test_an_unchanged_configuration_is_not_mentioned(
    make: Make, tmp_path: Path, warnings_said: list[str], ours: bytes | None
) -> None:
    write_files(tmp_path, {} if ours is None else {"keepsake.yaml": ours})
    checkout([make({"keepsake.yaml": b"repository: file://old\n"})], tmp_path)
    assert warnings_said == []
