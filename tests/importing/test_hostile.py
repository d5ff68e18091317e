"""Sources that a stranger made: one error that names the file, quickly, and nothing half-done."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.project import Project
from tests.importing.sources import write_mlflow_database, write_mlflow_run

_LETTERS = "abcdefghijk"
_BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{each}: &{each} [{','.join([f'*{before}'] * 8)}]\n" for before, each in itertools.pairwise(_LETTERS)
)
_LARGE = 10 << 30


def _grow(path: Path, content: bytes = b"") -> None:
    path.write_bytes(content)
    os.truncate(path, _LARGE)  # a hole


def _link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.parents[3])


def _make_fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


REFUSED: dict[str, Callable[[Path], object]] = {
    "meta.yaml": lambda path: path.write_text("a: " + "[" * 100_000),
    "meta.yaml ": _make_fifo,
    "params/lr": _grow,
    "params": _link,
    "metrics": _link,
    "artifacts": _link,
    "metrics/fifo": _make_fifo,
}


@pytest.mark.skipif(os.name == "nt", reason="links need a right there, and there are no fifos")
@pytest.mark.parametrize("name", REFUSED)
def test_a_run_is_refused_and_the_others_come(project: Project, tmp_path: Path, name: str) -> None:
    write_mlflow_run(tmp_path / "mlruns", "b" * 32, metrics={"loss": [(1, 1, 1)]})
    folder = write_mlflow_run(tmp_path / "mlruns", "a" * 32, params={"lr": "1"}, metrics={"loss": [(1, 1, 1)]})
    place = folder / name.strip()
    REFUSED[name](place)
    done = project.import_runs(tmp_path)
    (error,) = done.errors
    assert str(place) in str(error)
    assert len(done.new) == len(project.experiments.list()) == 1


def test_a_text_that_grows_without_end_is_none(project: Project, tmp_path: Path) -> None:
    folder = write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]})
    (folder / "meta.yaml").write_text(_BOMB + "run_name: *k\nrun_id: *k\nuser_id: *k\n")
    assert len(project.import_runs(tmp_path).new) == 1


@pytest.mark.skipif(os.name == "nt", reason="files there have no holes unless one asks for them")
@pytest.mark.parametrize("name", ["run-x.wandb", "events.out.tfevents.1.host"])
def test_a_file_of_zeros_is_a_warning(project: Project, tmp_path: Path, name: str) -> None:
    _grow(tmp_path / name, b":W&B\xe1\xbe\0" if name.endswith("wandb") else b"")
    done = project.import_runs(tmp_path)
    assert str(tmp_path / name) in done.warnings[0]
    assert done.new == []


def test_a_database_with_other_types_and_endless_views(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    write_mlflow_database(path)
    endless = "with recursive t(n) as (select 1 union all select n + 1 from t) select n from t"
    with sqlite3.connect(path) as connection:
        connection.executescript(f"drop table trace_info; create view trace_info as {endless}")
        connection.execute("update runs set start_time = 'now'")
    connection.close()
    done = project.import_runs(path)
    (error,) = done.errors
    assert str(path) in str(error)
    assert done.new == []


def test_what_is_being_written_to_a_database_is_not_seen(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    write_mlflow_database(path)
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute("begin immediate")
    connection.execute("insert into params values ('half', '1', 'abc')")
    project.import_runs(path)
    connection.rollback()
    connection.close()
    (run,) = project.experiments.list()
    assert run.params == {"lr": 0.1}
