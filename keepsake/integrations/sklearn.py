"""Records a search of scikit-learn: `keepsake.sklearn.record(search)` after `search.fit(…)`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.experiment import Experiment
from keepsake.integrations.recorder import Recorder

_SCALARS = (str, int, float, bool)


def record(
    search: Any,
    filepath: str | os.PathLike[str] | None = "model.joblib",
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Experiment]:
    """Record each candidate of a fitted search as an experiment, so that `keepsake ls` compares them.

    The params are the estimator's, with the candidate's own in their place. The checkpoint of a candidate has its
    scores (`mean_test_score`, `std_test_score`, `rank_test_score` and so on). The primary metric is the score that the
    search refits by.

    Args:
        search: a GridSearchCV, RandomizedSearchCV, or another object with `cv_results_`.
        filepath: the file for the refitted estimator, which the best candidate's checkpoint has. It is relative to the
            project directory, which must be the working directory. None: no file.
        params: further hyperparameters, the same for each candidate.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Returns:
        The experiments, in the order of the candidates.

    Raises:
        ValidationError: the search is not fitted, or is not a search.
        KeepsakeError: the runs cannot be recorded.
    """
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping):
        raise ValidationError(
            f"The {type(search).__name__} has no results. Give a search, such as GridSearchCV, after its fit()."
        )
    refit = search.refit if isinstance(getattr(search, "refit", None), str) else "score"
    primary = (f"mean_test_{refit}", "maximize")
    best = getattr(search, "best_index_", None) if filepath is not None and hasattr(search, "best_estimator_") else None
    experiments = []
    fixed = _fixed_params(search)
    for index, candidate in enumerate(results["params"]):
        recorder = Recorder(params, primary, options={"quiet": True, **options})
        replaced = tuple(f"{name}__" for name in candidate)  # the params of a step that the candidate replaces
        own = {name: value for name, value in fixed.items() if not name.startswith(replaced)}
        recorder.begin({**own, **candidate}, is_trial=True)
        if recorder.experiment is not None:
            experiments.append(recorder.experiment)
        if index == best and filepath is not None:
            recorder.record(_scores(results, index), 0, filepath, lambda: _dump(search.best_estimator_, filepath))
        else:
            recorder.record(_scores(results, index), 0)
        recorder.stop()
    return experiments


def _fixed_params(search: Any) -> dict[str, Any]:
    """Return the params of the estimator, which are the same for all candidates that do not set them."""
    params = search.estimator.get_params()
    known = {name: value for name, value in params.items() if isinstance(value, _SCALARS)}
    return {"estimator": type(search.estimator).__name__, **known}


def _scores(results: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return what the search measured of a candidate. The scores of the splits become one list each."""
    scores: dict[str, Any] = {}
    for name, values in results.items():
        first, _, rest = name.partition("_")
        if first.startswith("split") and first[5:].isdigit():
            scores.setdefault(f"splits_{rest}", []).append(float(values[index]))
        elif name != "params" and first != "param":
            scores[name] = values[index]
    return scores


def _dump(estimator: Any, filepath: str | os.PathLike[str]) -> None:
    import joblib

    joblib.dump(estimator, filepath)
