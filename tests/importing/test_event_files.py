"""TensorBoard's event files, made byte by byte: restarts, names that are the same, lengths that somebody made up."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from keepsake.experiment import Experiment
from keepsake.importing.tensorboard import masked_crc
from keepsake.project import Project
from tests.importing.reading import only


def points(experiment: Experiment) -> list[tuple[int | None, Any]]:
    return sorted((c.step, c.metrics["loss"]) for c in experiment.checkpoints if c.metrics)


def write_events(path: Path, *events: bytes) -> None:
    """Write an event file as TensorBoard does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for event in events:
            header = struct.pack("<Q", len(event))
            file.write(header + struct.pack("<I", masked_crc(header)) + event + bytes(4))


def scalar(time: float, step: int, value: float) -> bytes:
    """An event with a scalar `loss`."""
    inner = b"\x0a\x04loss" + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    return b"\x09" + struct.pack("<d", time) + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary


def restart(time: float, step: int) -> bytes:
    """The event by which a writer says that it goes on from a step."""
    return b"\x09" + struct.pack("<d", time) + b"\x10" + bytes([step]) + b"\x3a\x02\x08\x01"


def part(number: int, content: bytes) -> bytes:
    """A field of a protobuf message."""
    return bytes([number << 3 | 2, len(content)]) + content


def session(lr: float) -> bytes:
    """The event with params that add_hparams() writes."""
    entry = part(1, b"lr") + part(2, b"\x11" + struct.pack("<d", lr))
    plugin = part(1, b"hparams") + part(2, part(3, part(1, entry)))
    value = part(1, b"_hparams_/session_start_info") + part(9, part(1, plugin))
    return b"\x09" + struct.pack("<d", 15) + part(5, part(1, value))


def test_params_belong_to_the_run_that_recorded_them(project: Project, tmp_path: Path) -> None:
    """add_hparams() writes them into a folder of its own. Those of two calls cannot both be the run's."""
    folder = tmp_path / "runs/one"
    write_events(folder / "events.out.tfevents.1.host", *(scalar(10 + n, n, 1.0) for n in range(3)))
    write_events(folder / "1795789880.537/events.out.tfevents.2.host", session(0.1), scalar(15, 2, 0.5))
    project.import_runs(tmp_path / "runs")
    assert (only(project).name, only(project).params, len(points(only(project)))) == ("one", {"lr": 0.1}, 4)
    for n, name in enumerate(("1795789880.6", "1795789881.7")):
        write_events(tmp_path / "two" / name / f"events.out.tfevents.{n}.host", session(n))
    write_events(tmp_path / "two/events.out.tfevents.9.host", scalar(10, 0, 1.0))
    assert len(project.import_runs(tmp_path / "two").new) == 3


def test_event_files_of_a_restarted_run(project: Project, tmp_path: Path) -> None:
    """TensorBoard drops what was recorded again. A run may be imported before its restart, too."""
    folder = tmp_path / "runs/one"
    write_events(folder / "events.out.tfevents.1.host", *(scalar(10 + n, n, 1.0) for n in range(4)))
    project.import_runs(tmp_path / "runs")
    again = [restart(20, 2), scalar(21, 2, 0.5), scalar(22, 3, 0.5), scalar(23, 4, 0.5)]
    write_events(folder / "events.out.tfevents.2.host", *again)
    done = project.import_runs(tmp_path / "runs")
    assert points(only(project)) == [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.5), (4, 0.5)]
    assert done.left_out == {"points that were recorded again after a restart": 2}


def test_runs_that_began_in_one_second_are_told_apart(project: Project, tmp_path: Path) -> None:
    """The names of their files and folders are the same."""
    for number, name in enumerate(("a", "b")):
        write_events(tmp_path / name / "train/events.out.tfevents.1.host", scalar(10 + number / 1000, 0, number))
    assert len(project.import_runs(tmp_path).new) == 2
    assert {run.name for run in project.experiments.list()} == {"a/train", "b/train"}


def test_a_large_event_is_left_out_unread(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    header = struct.pack("<Q", 3 << 30)
    write_events(path, scalar(10, 0, 1.0))
    with path.open("ab") as file:
        file.write(header + struct.pack("<I", masked_crc(header)))
        file.truncate(file.tell() + (3 << 30) + 4)  # a hole
    write_events(path, scalar(11, 1, 0.5))
    done = project.import_runs(path)
    assert points(only(project)) == [(0, 1.0), (1, 0.5)]
    assert "has 3,221 MB" in done.warnings[0]
