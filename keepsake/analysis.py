"""The ways to look at experiments: figures, drawings for a terminal, columns, DataFrames, groups, a page."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from keepsake.checkpoint import CheckpointList
from keepsake.listing.subjects import WholeExperiment, flatten, metrics_of
from keepsake.util.garbage import no_collection

if TYPE_CHECKING:
    from keepsake.collection import ExperimentList
    from keepsake.compare.groups import Group
    from keepsake.comparison import ComparisonTable
    from keepsake.display.curves import Run
    from keepsake.experiment import Experiment
    from keepsake.report.report import Report


class Analysis:
    """The ways to look at experiments, which a list of some and the collection of all have in common."""

    def _experiments(self) -> ExperimentList:
        """Return the experiments."""
        raise NotImplementedError

    def _runs(self) -> list[Run]:
        return [(experiment, experiment.checkpoint_records()) for experiment in self._experiments()]

    @property
    def checkpoints(self) -> CheckpointList:
        """All checkpoints of these experiments, such as for `experiments.checkpoints.to_dataframe()`."""
        return CheckpointList(checkpoint for experiment in self._experiments() for checkpoint in experiment.checkpoints)

    def primary_metric(self) -> str | None:
        """Return the name of the primary metric of the first experiment that has one."""
        return next((name for experiment in self._experiments() if (name := experiment.primary_metric())), None)

    def plot(
        self,
        metric: str | Sequence[str] | None = None,
        logy: bool = False,
        *,
        logx: bool = False,
        x: str = "step",
        smoothing: float = 0.0,
        color: str | None = None,
    ) -> Any:
        """Plot a metric of all experiments over the steps with Matplotlib; return the axes.

        The legend names the params that differ. Where none differs, it names the IDs. Of more than 20 experiments, the
        best 10 have colours.

        Args:
            metric: its name; several names: all of them; None: the primary metric.
            logy, logx: logarithmic axes.
            x: "step", or "time" since the start of each run.
            smoothing: from 0 to below 1: an exponential moving average, with the original faint behind it.
            color: a param, metric or field that the colours show instead.

        Raises:
            ValidationError: no experiment has a name, or a value is not a number.
            MissingExtra: Matplotlib is not installed.
        """
        from keepsake.display.figures import Look, plot

        return plot(self._runs(), metric, Look(logx, logy, x, smoothing, color))

    def draw(
        self,
        metric: str | None = None,
        *,
        logy: bool = False,
        x: str = "step",
        smoothing: float = 0.0,
        width: int = 80,
        height: int = 23,
        color: bool = False,
    ) -> str:
        """Return a metric of all experiments over the steps, drawn as text for a terminal.

        A letter marks each curve, and stands beside the run's ID and the params that differ. Of more than 10
        experiments, it shows the best 10 (without a primary metric, the latest).

        Args:
            metric: its name; None: the primary metric.
            logy: a logarithmic axis.
            x: "step", or "time" since the start of each run.
            smoothing: from 0 to below 1: an exponential moving average.
            width, height: characters of a line, and lines.
            color: with the escape sequences of colours.

        Raises:
            ValidationError: no experiment has a name, or a value is not a number.
        """
        from keepsake.display.terminal import Size, draw

        return draw(self._runs(), metric, x=x, logy=logy, smoothing=smoothing, size=Size(width, height), color=color)

    def scatter(
        self,
        param: str,
        metric: str | None = None,
        logx: bool = False,
        logy: bool = False,
        *,
        color: str | None = None,
    ) -> Any:
        """Plot a metric (default: the primary metric) over a hyperparameter, a point per experiment; return the axes.

        The point shows the metric of the best checkpoint, or else its last value. `color` names a param, metric or
        field that the colours of the points show.
        """
        from keepsake.display.params import scatter

        return scatter(self._experiments(), param, metric, logx=logx, logy=logy, color=color)

    def parallel_coordinates(self, metric: str | None = None, params: Sequence[str] | None = None) -> Any:
        """Draw a line per experiment through its params and its metric (default: the primary metric); return the axes.

        `params` names those to show, in this order. By default they are those that differ; of more than 8, those that
        matter most. The best experiment stands out.
        """
        from keepsake.display.parallel import parallel_coordinates

        return parallel_coordinates(self._experiments(), metric, params)

    def importance(self, metric: str | None = None) -> Any:
        """Draw how much each param matters for a metric (default: the primary metric), as bars; return the axes.

        `importances` says what the numbers are.
        """
        from keepsake.display.params import importance

        return importance(self._experiments(), metric)

    def importances(self, metric: str | None = None) -> dict[str, float]:
        """Return how much each param that differs matters for a metric (default: the primary metric), most first.

        The number is the share of the metric's variance, from 0 to 1, that the param explains by itself: epsilon
        squared of the ranked metric over 8 quantile bins of the param, or over its values if they are few or words.
        An experiment counts with the metric of its best checkpoint, or else its last value. With fewer than some 50
        experiments it is weak evidence.
        """
        from keepsake.display.results import importances_of, make_results

        with no_collection():
            return importances_of(make_results(self._experiments(), metric))

    def draw_importance(self, metric: str | None = None, *, width: int = 80, color: bool = False) -> str:
        """Return what `importance` draws as text for a terminal.

        `width`: characters of a line. `color`: with the escape sequences of colours.
        """
        from keepsake.display.bars import draw_importance
        from keepsake.display.results import make_results

        return draw_importance(make_results(self._experiments(), metric), width, color)

    def to_columns(self) -> dict[str, list[Any]]:
        """Return a row for each experiment, as a dict of columns of equal length.

        pandas, polars, pyarrow and DuckDB take it as it is. The columns are `id`, `created`, `status`, `duration` and
        the other fields, `params.NAME` for each param, and `best:NAME` for the metrics of the best checkpoint, and
        `last:NAME` for the last recorded values. A value in a dict has its path: `params.optimizer.lr`.

        The values of a column have one type: int, float, bool, str, datetime (naive local time) or timedelta; None is
        what an experiment does not have. Lists, and columns of several types, are text.
        """
        from keepsake.display.frames import experiment_columns

        with no_collection():
            return experiment_columns(self._experiments())

    def to_dataframe(self, backend: str = "pandas") -> Any:
        """Return `to_columns()` as a DataFrame of pandas, or of `backend="polars"`.

        Raises MissingExtra if that is not installed.
        """
        from keepsake.display.frames import to_frame

        return to_frame(self.to_columns(), backend)

    def compare(self) -> ComparisonTable:
        """Return all that differs between these experiments, each with its best (or else latest) checkpoint."""
        from keepsake.comparison import compare_all

        return compare_all(self._experiments())

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        points: int | None = None,
        metrics: Collection[str] | None = None,
        code: bool = True,
        title: str | None = None,
    ) -> Report:
        """Make a page that shows these experiments, as `keepsake report` does; return it. A notebook shows it.

        Args:
            path: also write it to this HTML file, which needs no server and no network.
            points: the most points of a curve; None: all, or as many as keep the page near 2 MB.
            metrics: the metrics whose curves it has; None: all.
            code: whether the code of the experiments is in it.
            title: None: the name of the project directory.

        Raises WriteError if the file cannot be written.
        """
        from keepsake.report.report import make_report

        report = make_report(
            self._experiments(), made=time.time(), title=title, points=points, metrics=metrics, code=code
        )
        if path is not None:
            report.save(path)
        return report

    def group(self, apart_from: Collection[str] | None = None) -> list[Group[Experiment]]:
        """Group the experiments whose params are the same except for some, such as the seed.

        The metrics are those of the best checkpoints and, of those that they lack, the last recorded values.

        Args:
            apart_from: names of params, or of dicts of them, that may differ within a group. Dots lead into dicts.
                None: those that are seeds by their names, such as `seed`, `data.rng_seed` or `random_state`.

        Returns:
            The groups, in the order of their first experiments, each with mean, min and max of each metric. The `runs`
            of a group are an ExperimentList.
        """
        from dataclasses import replace  # only here, because it takes a while

        from keepsake.compare.groups import group_runs

        metrics = lambda each: flatten(metrics_of(WholeExperiment(each)))  # noqa: E731
        experiments = self._experiments()
        groups = group_runs(experiments, lambda each: flatten(each.params or {}), metrics, apart_from)
        return [replace(group, runs=type(experiments)(group.runs)) for group in groups]
