"""A writer in the shape of TensorBoard's, for scripts that write scalars."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment
from keepsake.integrations.recorder import Primary, Recorder
from keepsake.project import default_project
from keepsake.util.console import once, warn

_PATIENCE_SECONDS = 2.0  # a program that is killed loses no value that is older

# Folders of one run, each with a writer of its own
_PARTS = frozenset(["train", "training", "val", "valid", "validation", "dev", "eval", "evaluation", "test", "testing"])

NOT_RECORDED = {
    "add_audio": "audio",
    "add_custom_scalars": "layouts of charts",
    "add_custom_scalars_marginchart": "layouts of charts",
    "add_custom_scalars_multilinechart": "layouts of charts",
    "add_embedding": "embeddings",
    "add_figure": "figures",
    "add_graph": "graphs of models",
    "add_histogram": "histograms",
    "add_histogram_raw": "histograms",
    "add_hparams_raw": "layouts of hyperparameters",
    "add_image": "images",
    "add_image_with_boxes": "images",
    "add_images": "images",
    "add_mesh": "meshes",
    "add_onnx_graph": "graphs of models",
    "add_openvino_graph": "graphs of models",
    "add_pr_curve": "precision-recall curves",
    "add_pr_curve_raw": "precision-recall curves",
    "add_tensor": "tensors",
    "add_text": "texts",
    "add_video": "videos",
    "export_scalars_to_json": "files of scalars",
}


class SummaryWriter:
    """Records scalars as checkpoints: the values that are written one after another for one step are one.

    A step is complete when another step comes, when a tag comes again, with `flush()` or `close()`, and after two
    seconds. The end of the program records what is left. The run ends when its last writer is closed, or with the
    program. What TensorBoard shows beside scalars is accepted, and one message for each kind says that it is not
    recorded. After the beginning, nothing here raises into a training (except with KEEPSAKE_STRICT=1).

    Args:
        log_dir: the folder, whose last name is the name of the run. Writers for folders named `train`, `val`, `test`
            and the like in one folder share a run, as do writers for folders inside the folder of an open one; the
            folder's name then comes before each tag: `val/loss`. None: `runs/` and the time, as in TensorBoard. The
            folder is made, and no event files are written.
        comment: ends the folder's name if there is no `log_dir`, and is the name of the run.
        purge_step: go on with the last run of that name, unless it ended normally. Steps that are written again are
            replaced.
        max_queue, flush_secs, filename_suffix, write_to_disk, comet_config: have no effect.
        logdir: the name of `log_dir` in older versions of tensorboardX.
        params: hyperparameters. `add_hparams` adds more.
        primary_metric: one of the tags and its goal, such as `("val/loss", "minimize")`.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Raises what `keepsake.init()` raises, if the run cannot be recorded.

    Attributes:
        log_dir, logdir: the folder, a string.
        purge_step: as the argument.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        logdir: str | os.PathLike[str] | None = None,
        write_to_disk: bool = True,
        comet_config: object = None,
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        **options: Any,
    ) -> None:
        given = log_dir or logdir
        moment = f"{time.strftime('%b%d_%H-%M-%S')}_{socket.gethostname()}"
        self.log_dir = os.fspath(given) if given else os.path.join("runs", moment + comment)
        self.logdir = self.log_dir  # the name in tensorboardX
        self.purge_step = purge_step
        folder = Path(os.path.abspath(self.log_dir))
        root = _root(folder)
        options = {"name": root.name if given else comment.strip(" _-") or None, **options}
        self._run = _open.get(root) or _Run(root, Recorder(params, primary_metric, False, options, _PATIENCE_SECONDS))
        self._prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        self._run.open(is_whole=folder == root, is_resumed=purge_step is not None)
        self._is_open = True
        self._run.attempt(lambda: os.makedirs(self.log_dir, exist_ok=True))

    @property
    def experiment(self) -> Experiment | None:
        """The Experiment, for its `checkpoint()`, which also saves files."""
        return self._run.experiment

    def get_logdir(self) -> str:
        """Return the folder."""
        return self.log_dir

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, walltime: float | None = None, *_: Any, **__: Any
    ) -> None:
        """Record a value. Without a step, it is the next one of its tag. `walltime` has no effect."""
        self._run.attempt(lambda: self._run.add({self._prefix + str(tag): scalar_value}, global_step))

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None, *_: Any, **__: Any
    ) -> None:
        """Record several values. Their names are `MAIN_TAG/TAG`."""
        values = {f"{self._prefix}{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()}
        self._run.attempt(lambda: self._run.add(values, global_step))

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: object = None,
        run_name: Any = None,
        global_step: Any = None,
        name: str | None = None,
    ) -> None:
        """Record hyperparameters as params, and metrics at `global_step`, or else at the last step.

        When a writer gets others later, as in a search, they become a run of their own, the child of this one.
        """
        if isinstance(hparam_domain_discrete, str):  # tensorboardX has no domains, so its name comes third
            name, global_step = hparam_domain_discrete, global_step if run_name is None else run_name
        else:
            name = name or run_name

        def record() -> None:
            metrics = {self._prefix + str(tag): value for tag, value in metric_dict.items()}
            self._run.add_hparams(hparam_dict, metrics, name, global_step)

        self._run.attempt(record)

    def flush(self) -> None:
        """Record what is held back."""
        self._run.attempt(self._run.flush)

    def close(self) -> None:
        """Record what is held back. If this is the last open writer of the run, end the run."""
        if self._is_open:
            self._is_open = False
            self._run.attempt(self._run.close)

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._run.blame(error)
        self.close()

    @property
    def file_writer(self) -> _Events:
        """Stands for the writer of event files, to which recipes give events of their own."""
        return _Events()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in NOT_RECORDED:
            raise AttributeError(f"SummaryWriter of Keepsake has no attribute {name!r}.")

        def accept(*arguments: Any, **named: Any) -> None:
            if name == "add_figure" and named.get("close", True):
                _close(named.get("figure", arguments[1:2]))
            _has_no_effect(NOT_RECORDED[name], name)

        return accept


class _Events:
    """Accepts events."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: _has_no_effect("events", name)


def _has_no_effect(kind: str, name: str) -> None:
    once(warn, f"Keepsake records scalars, not {kind}: {name}() has no effect.", kind)


def _close(figures: Any) -> None:
    """Close figures of Matplotlib, as TensorBoard's writer does. Open ones take memory."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for figure in figures if isinstance(figures, (list, tuple)) else [figures]:
        for each in figure if isinstance(figure, list) else [figure]:
            if pyplot is not None:
                with suppress(Exception):  # it is no figure
                    pyplot.close(each)


class _Run:
    """The run of all writers whose folders are one, or parts of one.

    Attributes:
        is_whole: whether a writer is open for its folder itself. All folders in it are parts then.
        experiment: the Experiment, once it has begun.
    """

    def __init__(self, root: Path, recorder: Recorder) -> None:
        self.is_whole = False
        self.experiment: Experiment | None = None
        self._root = root
        self._recorder = recorder
        self._writers = 0
        self._hparams: Mapping[str, Any] | None = None
        self._next = 0  # the step of values that have none
        self._last = 0  # the largest step
        self._names: set[str] = set()  # of the values at the step `_next`

    def open(self, *, is_whole: bool, is_resumed: bool) -> None:
        """Begin the experiment with the first writer."""
        if self.experiment is None:
            self._recorder.begin(resume=_latest(self._root.name) if is_resumed else None)
            self.experiment = self._recorder.experiment
            _open[self._root] = self
        self._writers += 1
        self.is_whole = self.is_whole or is_whole

    def close(self) -> None:
        self.flush()
        self._writers -= 1
        if not self._writers:
            _open.pop(self._root, None)
            self._recorder.end_of_training()
            self._recorder.stop()

    def flush(self) -> None:
        self._recorder.flush()

    def attempt(self, action: Callable[[], object]) -> None:
        self._recorder.attempt("A call of a SummaryWriter had no effect", action)

    def blame(self, error: BaseException) -> None:
        self._recorder.blame(error)

    def add(self, values: Mapping[str, Any], step: Any) -> None:
        """Record values with the others of their step."""
        with self._recorder.lock:  # several threads may write
            self._add(values, step)

    def _add(self, values: Mapping[str, Any], step: Any) -> None:
        if step is None:
            if self._names & values.keys():
                self._names.clear()
                self._next += 1
            self._names |= values.keys()
        number = self._next if step is None else int(step)
        self._last = max(self._last, number)
        held = self._recorder.held
        if held is not None and held[1].keys() & values.keys():
            self.flush()
        self._recorder.experiment = self.experiment  # after close(), a writer may go on
        self._recorder.log(values, number)

    def add_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, Any], name: str | None, step: Any) -> None:
        if self._hparams not in (None, hparams) and self.experiment is not None:
            options = {"path": None, "quiet": True, "name": name or self.experiment.name}
            recorder = Recorder(hparams, options={**options, "parent": self.experiment.id or None})
            recorder.begin()
            recorder.record(metrics, 0 if step is None else int(step))
            recorder.stop()
            return
        if self._hparams is None and self.experiment is not None:
            self.experiment.update_params(hparams)
        self._hparams = dict(hparams)
        if metrics:
            self.add(metrics, self._last if step is None else step)


_open: dict[Path, _Run] = {}  # the runs with open writers, by folder


def _root(folder: Path) -> Path:
    """Return the folder of the run that a writer belongs to."""
    for parent in (folder, *folder.parents):
        if parent in _open and (parent == folder or _open[parent].is_whole):
            return parent
    return folder.parent if folder.name.lower() in _PARTS else folder


def _latest(name: str) -> str | None:
    """Return the ID of the last experiment of that name; None if there is none."""
    try:
        found = default_project.experiments.list(lambda experiment: experiment.name == name)
    except KeepsakeError:  # nothing is recorded yet
        return None
    return found[-1].id if found else None
