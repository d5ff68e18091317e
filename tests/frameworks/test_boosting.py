"""The callbacks for XGBoost, LightGBM and CatBoost with the real libraries: tiny models, made-up data."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.reading import HEAVY, all_recorded, recorded

ROUNDS = 12
rng = np.random.default_rng(1)
X, NEW = rng.random((40, 3)), rng.random((40, 3))
Y, Z = X.sum(1) + rng.normal(0, 0.3, 40), NEW.sum(1) + rng.normal(0, 0.3, 40)  # so that it soon fits the noise


class Library:
    """One of the libraries: trains a model with a callback, and reads one from a file."""

    name = ""
    validation = "validation_0_rmse"

    def callback(self, *args: Any, **options: Any) -> Any:
        pytest.importorskip(self.name)
        return importlib.import_module(f"keepsake.{self.name}").KeepsakeCallback(*args, **options)

    def predict(self, file: str) -> Any:
        """Predict with the model in a file."""
        raise NotImplementedError

    def mistake(self, file: str) -> float:
        """Return what the validation measures of the model in a file."""
        square = float(np.mean((self.predict(file) - Z) ** 2))
        return square ** (0.5 if "rmse" in self.validation else 1)


class XGBoost(Library):
    name = "xgboost"

    def fit(self, callback: Any, rounds: int = ROUNDS, earlier: Any = None, **options: Any) -> Any:
        import xgboost

        model = xgboost.XGBRegressor(
            n_estimators=rounds, max_depth=3, learning_rate=0.7, n_jobs=1, callbacks=[callback], **options
        )
        return model.fit(X, Y, eval_set=[(NEW, Z)], verbose=False, xgb_model=earlier)

    def predict(self, file: str) -> Any:
        import xgboost

        model = xgboost.XGBRegressor()
        model.load_model(file)
        return model.predict(NEW)


class LightGBM(Library):
    name = "lightgbm"
    validation = "valid_0_l2"

    def fit(self, callback: Any, rounds: int = ROUNDS, earlier: Any = None, callbacks: Any = ()) -> Any:
        import lightgbm

        params = {"max_depth": 3, "learning_rate": 0.7, "min_data_in_leaf": 2, "verbose": -1, "num_threads": 1}
        data = lightgbm.Dataset(X, Y)
        new = data.create_valid(NEW, Z)
        callbacks = [callback, *callbacks]
        return lightgbm.train(params, data, rounds, valid_sets=[new], init_model=earlier, callbacks=callbacks)

    def predict(self, file: str) -> Any:
        import lightgbm

        return lightgbm.Booster(model_file=file).predict(NEW)


BOTH = pytest.mark.parametrize("library", [XGBoost(), LightGBM()], ids=["xgboost", "lightgbm"])


@pytest.fixture(autouse=True)
def _project(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No iteration is slow, however slow the machine is. Afterwards the runs end."""
    monkeypatch.setattr("keepsake.integrations.boosting._SLOW_SECONDS", float("inf"))
    yield
    for experiment in all_recorded():
        experiment.stop()


@BOTH
def test_every_iteration(library: Any) -> None:
    """Metrics at each; the model at the best one and at the last, as it was then."""
    mine = library.callback(params={"data": "made up"})
    model = library.fit(mine)
    experiment, checkpoints = recorded(), recorded().checkpoints
    assert experiment.params.items() >= {"max_depth": 3, "learning_rate": 0.7, "data": "made up"}.items()
    assert checkpoints.step == list(range(ROUNDS))
    values = checkpoints.metrics[library.validation]
    assert checkpoints.declared_metric() == {"name": library.validation, "goal": "minimize"}
    best = experiment.best()
    assert best.metrics[library.validation] == min(values)
    assert best.step < ROUNDS - 1, "the data is made so that the best model is not the last"
    for checkpoint in (best, experiment.latest()):
        checkpoint.checkout("out", quiet=True)
        value = library.mistake(f"out/{checkpoint.path}")
        assert value == pytest.approx(checkpoint.metrics[library.validation], rel=1e-4)
    assert np.allclose(library.predict(f"out/{experiment.latest().path}"), model.predict(NEW))


@BOTH
def test_a_model_is_saved_only_where_it_is_best(library: Any) -> None:
    """Where the next iteration is no better. With save_best_only, the last one has none."""
    library.fit(library.callback("below/model.json", save_best_only=True))
    checkpoints = recorded().checkpoints
    values = [float("inf"), *checkpoints.metrics[library.validation], float("inf")]
    peaks = [
        step
        for step, (value, following) in enumerate(pairwise(values[1:]))
        if value < min(values[: step + 1]) and following >= value
    ]
    assert [checkpoint.step for checkpoint in checkpoints if checkpoint.path] == peaks


@BOTH
def test_early_stopping(library: Any) -> None:
    """The best iteration has its model, and no iteration is lost."""
    if library.name == "xgboost":
        model = library.fit(library.callback(), rounds=50, early_stopping_rounds=3)
        best = model.best_iteration
    else:
        mine = library.callback()
        import lightgbm

        model = library.fit(mine, rounds=50, callbacks=[lightgbm.early_stopping(3, verbose=False)])
        best = model.best_iteration - 1
        library.fit(mine, rounds=1)  # the next training records what the callback still held back
        mine.experiment.delete()
    assert recorded().checkpoints.step == list(range(best + 4))
    assert recorded().best().step == best
    assert recorded().best().path


@BOTH
def test_slow_iterations(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each best model is saved at once, because much may happen until the next one."""
    monkeypatch.setattr("keepsake.integrations.boosting._SLOW_SECONDS", -1.0)
    library.fit(library.callback(), rounds=3)
    checkpoints = recorded().checkpoints
    assert checkpoints.step == [0, 1, 2]
    values = checkpoints.metrics[library.validation]
    best_so_far = [step for step in range(3) if values[step] == min(values[: step + 1])]
    assert [c.step for c in checkpoints if c.path] == sorted({*best_so_far, 2})


@BOTH
def test_metrics_only(library: Any) -> None:
    """Without a file, and with a primary metric of one's own."""
    library.fit(library.callback(None, primary_metric=(library.validation, "max")), rounds=3)
    assert recorded().checkpoints.declared_metric() == {"name": library.validation, "goal": "maximize"}
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == [None] * 3


@BOTH
def test_a_training_that_goes_on_from_a_model(library: Any) -> None:
    """Each saved model has the trees of the earlier training, too."""
    earlier = library.fit(library.callback(None), rounds=4)
    mine = library.callback("more.json")
    model = library.fit(mine, earlier=earlier)
    checkpoints = all_recorded()[-1].checkpoints
    assert len(checkpoints) == ROUNDS
    saved = [checkpoint for checkpoint in checkpoints if checkpoint.path]
    assert {saved[-1].step, mine.experiment.best().step} <= {each.step for each in saved}
    for checkpoint in saved:
        checkpoint.checkout("out", quiet=True)
        value = library.mistake("out/more.json")
        assert value == pytest.approx(checkpoint.metrics[library.validation], rel=1e-4)
    assert np.allclose(library.predict("out/more.json"), model.predict(NEW))


@BOTH
@pytest.mark.parametrize("file", ["taken.json", "keepsake.yaml/model.json"])
def test_a_model_that_cannot_be_saved(
    library: Any, file: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The training goes on, and one line says why there are no models."""
    monkeypatch.delenv("KEEPSAKE_STRICT")
    Path("taken.json").mkdir()
    library.fit(library.callback(file))
    assert recorded().checkpoints.step == list(range(ROUNDS))
    assert capfd.readouterr().err.count("The model was not saved") == 1


@BOTH
def test_cross_validation(library: Any) -> None:
    """Its metrics are means, with deviations."""
    mine = library.callback()
    if library.name == "xgboost":
        import xgboost

        xgboost.cv({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(X, Y), 3, nfold=3, callbacks=[mine])
    else:
        import lightgbm

        params = {"objective": "l2", "verbose": -1, "num_threads": 1}
        lightgbm.cv(params, lightgbm.Dataset(X, Y), 3, nfold=3, callbacks=[mine], stratified=False)
    assert recorded().checkpoints.step == [0, 1, 2]
    names = recorded().checkpoints[0].metrics
    assert any(name.endswith("_std") for name in names)


def test_xgboost_knows_of_which_metrics_more_is_better() -> None:
    """Its early stopping knows the same."""
    xgboost = pytest.importorskip("xgboost")
    data = xgboost.DMatrix(X, np.round(Y / 3))
    params = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "nthread": 1}
    xgboost.train(params, data, 2, evals=[(data, "train")], callbacks=[XGBoost().callback(None)], verbose_eval=False)
    assert recorded().checkpoints.declared_metric() == {"name": "train_auc", "goal": "maximize"}


# CatBoost


@pytest.mark.parametrize("cut", [False, True])
def test_catboost(cut: bool) -> None:
    """The model as fit() leaves it: with the last iteration, or cut at the best."""
    catboost = pytest.importorskip("catboost", reason=HEAVY)
    from keepsake.catboost import KeepsakeCallback

    rounds = 30
    model = catboost.CatBoostRegressor(
        iterations=rounds, learning_rate=0.9, depth=6, verbose=False, allow_writing_files=False, thread_count=1
    )
    mine = KeepsakeCallback(model, params={"data": "made up"})
    model.fit(X, Y, eval_set=(NEW, Z), use_best_model=cut, callbacks=[mine])
    mine.save()
    experiment, checkpoints = recorded(), recorded().checkpoints
    assert experiment.params.items() >= {"depth": 6, "learning_rate": 0.9, "data": "made up"}.items()
    assert checkpoints.declared_metric() == {"name": "validation_RMSE", "goal": "minimize"}
    best = int(np.argmin(checkpoints.metrics["validation_RMSE"]))
    assert best < rounds - 1, "the data is made so that the best model is not the last"
    assert checkpoints.step == [*range(rounds), *([best] if cut else [])]
    (saved,) = [checkpoint for checkpoint in checkpoints if checkpoint.path]
    assert saved.step == (best if cut else rounds - 1)
    assert not cut or experiment.best().path
    saved.checkout("out", quiet=True)
    loaded = catboost.CatBoostRegressor().load_model("out/model.cbm")
    assert np.allclose(loaded.predict(NEW), model.predict(NEW))
