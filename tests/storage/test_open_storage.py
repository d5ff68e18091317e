"""What a repository URL means, and the errors for invalid ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.exceptions import MissingExtra, RepositoryConfigurationError
from keepsake.storage import Storage, open_storage


def directory_of(storage: Storage) -> Path:
    assert storage.directory is not None
    return storage.directory


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("file://repo", "repo"),
        ("FILE://repo", "repo"),
        ("file://repo/", "repo"),
        ("file://./a/../repo", "repo"),
        ("file://.", "."),
        ("file://re%70o", "repo"),
        ("file://50%25", "50%"),
        ("file://100%", "100%"),
        ("file://a#b?c", "a#b?c"),
        ("file://me@home", "me@home"),
        ("file://my repo+1", "my repo+1"),
        ("file://%C3%BC", "ü"),
    ],
)
def test_a_relative_path_is_in_the_project_directory(tmp_path: Path, url: str, name: str) -> None:
    storage = open_storage(url, tmp_path)
    assert directory_of(storage) == tmp_path / name
    assert directory_of(open_storage(storage.url, "/elsewhere")) == tmp_path / name


@pytest.mark.skipif(sys.platform == "win32", reason="variables are written otherwise there")
def test_a_home_directory_and_variables_are_what_they_are_to_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    assert directory_of(open_storage("file://~/runs", tmp_path)) == tmp_path / "home/runs"
    assert directory_of(open_storage("file://$SCRATCH/runs", tmp_path)) == tmp_path / "scratch/runs"
    assert directory_of(open_storage("file://./~/runs", tmp_path)) == tmp_path / "~/runs"
    for url in ("file://~no-such-user/runs", "file://$NO_SUCH_VARIABLE/runs"):
        with pytest.raises(RepositoryConfigurationError):
            open_storage(url, tmp_path)


def test_a_repository_that_was_made_in_a_directory_of_that_name_is_found(tmp_path: Path) -> None:
    """Keepsake 0.4.2 expands nothing."""
    (tmp_path / "~/runs").mkdir(parents=True)
    (tmp_path / "~/runs/repository.json").write_text('{"version":1}')
    assert directory_of(open_storage("file://~/runs", tmp_path)) == tmp_path / "~/runs"


def test_an_absolute_path_is_itself(tmp_path: Path) -> None:
    assert directory_of(open_storage(f"file://{tmp_path}/x", "/elsewhere")) == tmp_path / "x"


def test_without_a_project_paths_are_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory at that moment counts. Changing it later has no effect."""
    monkeypatch.chdir(tmp_path)
    storage = open_storage("file://repo")
    monkeypatch.chdir("/")
    storage.ensure_writable()
    storage.put("k", b"x")
    assert (tmp_path / "repo" / "k").read_bytes() == b"x"


def test_opening_touches_nothing(tmp_path: Path) -> None:
    assert list(open_storage("file://repo", tmp_path).list("")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "repo", "ftp://host/x", "file:/repo", "s3:/x", "://x", "https://user:pw@host/x"])
def test_other_schemes_are_refused_by_naming_the_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)  # where no folder has such a name
    with pytest.raises(RepositoryConfigurationError) as caught:
        open_storage(url)
    assert all(form in str(caught.value) for form in ("file://PATH", "s3://BUCKET", "gs://BUCKET"))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/a/path", "file:///a/path"),
        ("./runs", "file://./runs"),
        ("~/runs", "file://~/runs"),
        ("$HOME/50%", "file://$HOME/50%25"),
        ("there", "file://there"),
        ("C:\\runs", "file:///C:/runs"),
    ],
)
def test_for_a_path_its_url_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(RepositoryConfigurationError, match="is a path, not a repository URL") as caught:
        open_storage(path)
    assert f"Did you mean {url!r}?" in str(caught.value)
    if not path.startswith("C:"):
        open_storage(url)


def test_a_url_is_named_as_it_was_given() -> None:
    with pytest.raises(RepositoryConfigurationError, match="Not a repository URL: 's3://'"):
        open_storage("s3://")


@pytest.mark.parametrize(
    "url", ["file://", "file://a%00b", "file://%ff", "s3://", "gs:///root", "s3://bucket/a/../b", "s3://b/\ud83d"]
)
def test_urls_that_name_no_place_are_refused(url: str) -> None:
    with pytest.raises(RepositoryConfigurationError, match="repository URL"):
        open_storage(url)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(
    ("rest", "canonical"),
    [
        ("bucket", "bucket"),
        ("bucket/", "bucket"),
        ("bucket//a/./b/", "bucket/a/b"),
        ("KEY:SECRET@bucket/a", "bucket/a"),
        ("KEY:SEC/RET@bucket/a", "bucket/a"),
        ("bucket/a%20b#c?d", "bucket/a b#c?d"),
        ("bucket/50%", "bucket/50%25"),
    ],
)
def test_a_bucket_has_one_url_without_secrets(
    monkeypatch: pytest.MonkeyPatch, scheme: str, rest: str, canonical: str
) -> None:
    """However it is written, so that data stored under the URL is found again."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    storage = open_storage(f"{scheme.upper()}://{rest}")
    assert storage.url == open_storage(storage.url).url == f"{scheme}://{canonical}"
    assert storage.directory is None


@pytest.mark.parametrize(("url", "package", "extra"), [("s3://b", "botocore", "s3"), ("gs://b", "google.cloud", "gcs")])
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(("keepsake.storage.", package))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'keepsake\[{extra}\]'") as caught:
        open_storage(url)
    assert isinstance(caught.value, ImportError)


def test_a_local_repository_loads_no_cloud(run_python: Callable[[str], str]) -> None:
    """When one cloud is used, the other is not loaded."""
    program = """
import sys
from keepsake.storage import open_storage
open_storage("file://x")
print(sorted({"boto3", "botocore", "google", "requests", "urllib3"} & set(sys.modules)))
open_storage("s3://x")
print(sorted({"google", "requests", "botocore"} & set(sys.modules)))
"""
    assert run_python(program).splitlines() == ["[]", "['botocore']"]


def test_threads_start_with_the_first_storage(run_python: Callable[[str], str]) -> None:
    """Not when a module is imported."""
    program = """
import threading
import keepsake.storage.s3, keepsake.storage.gcs, keepsake.storage.network
print(threading.active_count())
for _ in range(2):
    keepsake.storage.s3.S3Storage("bucket", "")
    print(threading.active_count() > 30)
"""
    assert run_python(program).split() == ["1", "True", "True"]
