"""The record of a search with the real scikit-learn: tiny models, made-up data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from keepsake.exceptions import ValidationError
from tests.frameworks.reading import all_recorded

pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")

from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, StandardScaler  # noqa: E402
from sklearn.tree import DecisionTreeRegressor  # noqa: E402

pytestmark = pytest.mark.usefixtures("project_directory")

rng = np.random.default_rng(1)
X = rng.random((30, 2))
Y = X.sum(1)


def record(*args: Any, **options: Any) -> Any:
    from keepsake.sklearn import record

    return record(*args, **options)


def test_each_candidate_is_a_run() -> None:
    """With its params and scores; the best one has the refitted model."""
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 100.0, 1.0]}, cv=3).fit(X, Y)
    made = record(search, params={"data": "made up"})
    experiments = all_recorded()
    assert [experiment.id for experiment in experiments] == [experiment.id for experiment in made]
    assert [experiment.params["alpha"] for experiment in experiments] == [0.1, 100.0, 1.0]
    assert experiments[0].params.items() >= {"estimator": "Ridge", "solver": "auto", "data": "made up"}.items()
    assert [experiment.status for experiment in experiments] == ["stopped"] * 3
    scores = [experiment.best().metrics["mean_test_score"] for experiment in experiments]
    assert scores == list(search.cv_results_["mean_test_score"])
    assert experiments[0].latest().metrics["splits_test_score"] == [
        search.cv_results_[f"split{number}_test_score"][0] for number in range(3)
    ]
    assert [experiment.latest().path for experiment in experiments] == ["model.joblib", None, None]
    with experiments[0].latest().open("model.joblib") as file:
        assert np.array_equal(joblib.load(file).predict(X), search.predict(X))


def test_params_that_are_objects_and_several_scores() -> None:
    """A step of a pipeline; the score that the search refits by is the primary metric."""
    grid = {"standardscaler": [StandardScaler(), MinMaxScaler()], "ridge__alpha": [1.0]}
    scoring = ["r2", "neg_mean_absolute_error"]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), grid, cv=2, scoring=scoring, refit="neg_mean_absolute_error"
    )
    record(search.fit(X, Y), filepath=None)
    experiments = all_recorded()
    assert [experiment.params["standardscaler"] for experiment in experiments] == ["StandardScaler()", "MinMaxScaler()"]
    assert experiments[0].primary_metric() == "mean_test_neg_mean_absolute_error"
    assert experiments[0].latest().path is None


def test_without_refit_and_with_a_candidate_that_fails() -> None:
    """No model, and no score."""
    search = GridSearchCV(DecisionTreeRegressor(), {"max_depth": [1, -5]}, cv=2, refit=False, error_score=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record(search.fit(X, Y))
    good, bad = all_recorded()
    assert good.best().metrics["mean_test_score"] < 1
    assert np.isnan(bad.latest().metrics["mean_test_score"])
    assert bad.best() is None


@pytest.mark.parametrize("wrong", [GridSearchCV(DummyClassifier(), {}), Ridge(), None])
def test_what_is_no_fitted_search(wrong: Any) -> None:
    with pytest.raises(ValidationError, match=r"after its fit\(\)"):
        record(wrong)
    assert list(all_recorded()) == []


def test_a_step_that_a_candidate_replaces_leaves_no_params() -> None:
    """They would be those of another estimator."""
    grid = {"ridge": [Ridge(alpha=2.0), DecisionTreeRegressor()]}
    record(GridSearchCV(make_pipeline(StandardScaler(), Ridge()), grid, cv=2).fit(X, Y))
    for experiment in all_recorded():
        assert not [name for name in experiment.params if name.startswith("ridge__")]
        assert experiment.params["standardscaler__with_mean"] is True
