"""keepsake.yaml: where it is looked for, what it may contain, and the errors for a wrong one."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import keepsake
from keepsake import config
from keepsake.config import Config, find_config, find_place, find_project, load_config, redact_url
from keepsake.exceptions import ConfigNotFound, RepositoryConfigurationError
from keepsake.spool.places import spool_root
from keepsake.util import console


def write(directory: Path, text: str, name: str = "keepsake.yaml") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def message_for(path: Path) -> str:
    with pytest.raises(RepositoryConfigurationError) as caught:
        load_config(path)
    return str(caught.value)


# Looking for it


def test_the_file_of_the_working_directory_makes_it_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "repository: s3://bucket/root\n")
    monkeypatch.chdir(tmp_path)
    assert find_project() == Config("s3://bucket/root", tmp_path)


def test_the_nearest_file_upward_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "repository: file://far\n")
    write(tmp_path / "a", "repository: file://near\n")
    below = tmp_path / "a" / "b" / "c"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_project() == Config("file://near", tmp_path / "a")


def test_a_run_below_a_directory_with_experiments_says_whose_project_it_belongs_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise, one run in a home directory would take in all that is below it, without a word."""
    write(tmp_path / ".keepsake", '{"version": 1}', "repository.json")
    below = tmp_path / "new"
    below.mkdir()
    monkeypatch.chdir(below)
    assert find_project(begin=True).directory == tmp_path
    assert f"it belongs to the project {tmp_path}, where" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    find_project(begin=True)
    write(tmp_path, "repository: file://.keepsake\n")
    monkeypatch.chdir(below)
    find_project(begin=True)
    assert capsys.readouterr().err == ""


def test_a_named_directory_is_not_left_upward(tmp_path: Path) -> None:
    write(tmp_path, "repository: file://repo\n")
    (tmp_path / "sub").mkdir()
    with pytest.raises(ConfigNotFound, match="sub"):
        find_project(tmp_path / "sub")


def test_a_named_directory_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "project", "repository: file://repo\n")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert find_project(Path("../project")).directory == tmp_path / "project"


@pytest.mark.parametrize("missing", range(4))
def test_names_are_tried_in_order_within_a_directory(tmp_path: Path, missing: int) -> None:
    names = ["keepsake.yaml", "keepsake.yml", "replicate.yaml", "replicate.yml"][missing:]
    for name in names:
        write(tmp_path, "repository: file://repo\n", name)
    assert find_config(tmp_path) == tmp_path / names[0]


def test_the_search_ends_after_a_number_of_levels(tmp_path: Path) -> None:
    write(tmp_path, "repository: file://repo\n")
    below = tmp_path / "a" / "b"
    assert find_place(below, levels=3) == tmp_path / "keepsake.yaml"
    assert find_place(below, levels=2) is None


def test_a_directory_with_the_name_of_the_file_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "keepsake.yaml").mkdir()
    write(tmp_path, "repository: file://repo\n", "keepsake.yml")
    assert find_config(tmp_path) == tmp_path / "keepsake.yml"


def test_a_file_that_is_a_link_to_what_is_not_there_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    """Its disk may not be mounted. Without the error, runs would be kept in another place without a word."""
    (tmp_path / "keepsake.yaml").symlink_to(tmp_path / "away" / "keepsake.yaml")
    assert find_place(tmp_path / "below") == tmp_path / "keepsake.yaml"
    assert str(tmp_path / "away" / "keepsake.yaml") in message_for(tmp_path / "keepsake.yaml")


@pytest.mark.parametrize("text", ["repository: >\n  file://runs\n", "repository: |\n  file://runs\n"])
def test_space_around_a_url_is_not_part_of_it(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of YAML, and a variable that comes from a file or a secret of Kubernetes, end in a line feed."""
    write(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    assert find_project().repository == "file://runs"
    monkeypatch.setenv("KEEPSAKE_REPOSITORY", " file://others\n")
    assert find_project().repository == "file://others"
    monkeypatch.setenv("KEEPSAKE_SPOOL", f"{tmp_path / 'spool'}\n")
    assert spool_root(tmp_path) == tmp_path / "spool"


def test_without_a_file_the_error_shows_the_line_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigNotFound) as caught:
        find_project()
    assert str(tmp_path) in str(caught.value)
    line = next(line for line in str(caught.value).splitlines() if line.strip().startswith("repository:"))
    write(tmp_path, line.strip())
    assert find_project().repository == "file://.keepsake"


def test_a_working_directory_that_is_gone_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigNotFound, match="no longer exists"):
        find_project()


def test_a_place_that_cannot_be_searched_is_named_where_no_project_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ".keepsake"
    place.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != place)
    with pytest.raises(ConfigNotFound, match=f"{re.escape(str(place))} cannot be read"):
        find_project(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can be another user")
def test_in_a_directory_that_cannot_be_searched_no_project_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    os.seteuid(12345)
    try:
        with pytest.raises(ConfigNotFound, match="There is no project"):
            find_project()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "repository: s3://user:secret@theirs\n")
    os.chown(path, 12345, 12345)
    below = tmp_path / "mine"
    below.mkdir()
    monkeypatch.chdir(below)

    def said() -> str:
        console.told.clear()
        find_project()
        return capsys.readouterr().err

    first = said()
    assert f"{path} belongs to user 12345" in first
    assert "s3://theirs" in first
    assert "secret" not in first
    assert said() == ""
    path.write_text("repository: s3://elsewhere\n")
    assert "s3://elsewhere" in said()
    find_project(tmp_path)  # named by the person
    os.chown(path, 0, 0)
    assert said() == ""
    path.rename(tmp_path / "of-root.yaml")
    path.symlink_to("of-root.yaml")
    os.lchown(path, 12346, 12346)
    assert f"{path} belongs to user 12346" in said()


# What it says


@pytest.mark.parametrize(
    "text",
    [
        "repository: file://repo\n",
        'repository: "file://repo"',
        "# a comment\n\nrepository:   file://repo   # another\n",
        "{repository: file://repo}",
        "\ufeffrepository: file://repo\r\n",
        "%YAML 1.1\n---\nrepository: file://repo\n...\n",
        "repository: >-\n  file://repo\n",
    ],
)
def test_all_ways_of_yaml_to_write_it_are_read(tmp_path: Path, text: str) -> None:
    assert load_config(write(tmp_path, text)).repository == "file://repo"


def test_a_url_is_kept_as_it_is_written(tmp_path: Path) -> None:
    url = "file://~/Ünïcode/with%20escapes?and#more"
    assert load_config(write(tmp_path, f"repository: '{url}'\n")).repository == url


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("repositry: file://repo\n", 1, "The key 'repositry' is unknown. The only key is 'repository'"),
        ("repository: file://repo\n\nmax_steps: 3\n", 3, "The key 'max_steps' is unknown"),
        ("repository: file://a\nrepository: file://b\n", 2, "The key 'repository' appears twice"),
        ("repository: 12\n", 1, "The value of 'repository' must be a URL"),
        ("repository: [file://repo]\n", 1, "The value of 'repository' must be a URL"),
        ("repository:\n", 1, "The value of 'repository' must be a URL"),
        ("repository: ''\n", 1, "The value of 'repository' must be a URL"),
        ("- file://repo\n", 1, "There is no key with a value"),
        ("file://repo\n", 1, "There is no key with a value"),
        ("[a]: b\n", 1, "The key"),
        ("repository: file://repo\n\trepository: x\n", 2, "Not valid YAML"),
        ("# one\nrepository: 'file://repo\n", 3, "Not valid YAML"),
        ("repository: file://a\n---\nrepository: file://b\n", 2, "Not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = write(tmp_path, text)
    assert message_for(path).startswith(f"{path}, line {line}: {problem}")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_the_error_for_an_empty_file_says_what_to_write(tmp_path: Path, text: str) -> None:
    assert "The key 'repository' is missing. Add a line such as:\n\n  repository: file://" in message_for(
        write(tmp_path, text)
    )


def test_deep_nesting_is_a_clear_error(tmp_path: Path) -> None:
    assert "Not valid YAML" in message_for(write(tmp_path, "[" * 100_000))


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    path = write(tmp_path, "repository: !!python/object/apply:os.system ['touch pwned']\n")
    assert "must be a URL" in message_for(path)


def test_bytes_that_are_not_text_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "keepsake.yaml"
    path.write_bytes(b"repository: file://\xff\n")
    assert "Not valid YAML" in message_for(path)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert message_for(tmp_path / "keepsake.yaml").endswith(
        "The file cannot be read: No such file or directory. Make it readable."
    )


@given(
    st.binary(max_size=80)
    | st.text(alphabet="repositorystorage:-[]{}&*!|>'\"#%@`,? \n\t/.", max_size=80).map(str.encode)
)
@example(b"repository: *a\n")
@example(b"? repository\n: file://x\n")
@example(b"<<: {repository: file://x}\n")
def test_any_content_is_read_or_is_a_configuration_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "keepsake.yaml")
        path.write_bytes(content)
        try:
            assert load_config(path).repository
        except RepositoryConfigurationError as error:
            assert str(path) in str(error)


# What older versions used


def test_a_deprecated_name_works_and_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "repository: file://repo\n", "replicate.yaml")
    assert load_config(path) == load_config(path) == Config("file://repo", tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("Rename the file to keepsake.yaml") == 1
    assert "replicate.yaml" in said


def test_the_deprecated_key_works_and_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "storage: gs://bucket\n")
    assert load_config(path).repository == load_config(path).repository == "gs://bucket"
    assert capsys.readouterr().err.count("Rename it to 'repository'") == 1


def test_both_keys_at_once_are_an_error(tmp_path: Path) -> None:
    assert "mean the same" in message_for(write(tmp_path, "storage: file://a\nrepository: file://a\n"))


def test_a_project_older_than_the_file_is_found_and_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "repository: file://farther-away\n")
    project = tmp_path / "old"
    (project / ".replicate" / "storage").mkdir(parents=True)
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    found = find_project()
    assert found == Config("file://.replicate/storage", project)
    said = capsys.readouterr().err
    assert str(project) in said
    assert f"repository: {found.repository}" in said


def test_a_file_beats_the_old_repository_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".replicate" / "storage").mkdir(parents=True)
    write(tmp_path, "repository: file://new\n", "keepsake.yml")
    assert find_project(tmp_path).repository == "file://new"
    assert capsys.readouterr().err == ""


# Printing a URL


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/root", "s3://bucket/root"),
        ("s3://key:secret@bucket/root", "s3://bucket/root"),
        ("S3://key:a/b+c/d@bucket/root", "S3://bucket/root"),
        ("s3://key:p@ss?w#rd@bucket", "s3://bucket"),
        ("gs://user@bucket/a@b", "gs://bucket/a@b"),
        ("gs://bucket/user@host/x:y@z", "gs://bucket/user@host/x:y@z"),
        ("https://user:secret@host:9000/bucket", "https://host:9000/bucket"),
        ("file://me@work/a:b@c", "file://me@work/a:b@c"),
        ("FILE:///home/me@work", "FILE:///home/me@work"),
        ("no url: a@b", "no url: a@b"),
    ],
)
def test_user_names_and_passwords_are_not_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(
    st.text("abcz019_./:@+=~-#\"' \t\n\\&*!é", max_size=30),
    st.sampled_from(["", "# where\n", "\n", "---\n", "  "]),
    st.sampled_from(["", "\n", "\n\n", " # here\n", "\nstorage: x\n"]),
)
def test_what_is_read_without_yaml_is_what_yaml_reads(value: str, before: str, after: str) -> None:
    content = f"{before}repository: file://{value}{after}".encode()
    usual = config._USUAL.fullmatch(content)
    if usual:
        assert yaml.safe_load(content) == {"repository": usual[2].decode()}


def test_the_usual_file_is_read_without_yaml() -> None:
    for content in (b"repository: file://.keepsake\n", b"# ours\n\nrepository: 's3://bucket/team-a'\n"):
        assert config._USUAL.fullmatch(content)


def test_a_wrong_url_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that the caller passes is not in the file."""
    (tmp_path / "keepsake.yaml").write_text("repository: ./runs\n")
    monkeypatch.chdir(tmp_path)
    for url, start in ((None, f"{tmp_path / 'keepsake.yaml'}: './runs' is a path"), ("./other", "'./other' is a path")):
        with pytest.raises(RepositoryConfigurationError) as caught:
            keepsake.Project(repository=url).experiments.list()
        assert str(caught.value).startswith(start)
