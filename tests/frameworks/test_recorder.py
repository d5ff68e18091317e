"""What all callbacks, trackers and writers share, without any framework."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from keepsake.integrations.recorder import Recorder
from tests.frameworks.reading import recorded

FORK = """
import multiprocessing
from keepsake.integrations.recorder import Recorder
recorder = Recorder(options={"path": None}, patience=60)
recorder.begin()
recorder.log({"parent": 1}, 1)
child = multiprocessing.get_context("fork").Process(target=recorder.log, args=({"child": 1}, 5))
child.start()
child.join()
recorder.log({"parent": 2}, 2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.usefixtures("project_directory")
def test_a_forked_child_records_its_last_values_and_none_of_its_parent(run_python: Callable[..., str]) -> None:
    run_python(FORK)
    found = sorted((checkpoint.step, checkpoint.metrics) for checkpoint in recorded().checkpoints)
    assert found == [(1, {"parent": 1}), (2, {"parent": 2}), (5, {"child": 1})]


@pytest.mark.usefixtures("project_directory")
def test_a_value_that_changes_later_is_recorded_as_it_was_logged() -> None:
    """Trainings add up losses in one array, which changes while its value waits for the rest of its step."""
    numpy = pytest.importorskip("numpy", reason="`make install` installs it")
    recorder = Recorder(options={"path": None}, patience=60)
    recorder.begin()
    total = numpy.array(1.0)
    recorder.log({"loss": total}, 0)
    total += 1
    recorder.log({"loss": total}, 1)
    recorder.stop()
    assert [checkpoint.metrics for checkpoint in recorded().checkpoints] == [{"loss": 1.0}, {"loss": 2.0}]
