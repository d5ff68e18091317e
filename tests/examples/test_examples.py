"""The examples do what their READMEs say, run as a person runs them: whole programs, in a copy of their directory."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program and return what it prints, but for what it says to the person on stderr."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(*arguments: str, cwd: Path) -> str:
    return run(sys.executable, *arguments, cwd=cwd)


def keepsake(*arguments: str, cwd: Path) -> str:
    return python("-m", "keepsake", *arguments, cwd=cwd)


@pytest.fixture
def movies(tmp_path: Path) -> Path:
    """A copy of examples/movies with its ratings."""
    directory = tmp_path / "movies"
    shutil.copytree(EXAMPLES / "movies", directory)
    python("make_ratings.py", cwd=directory)
    return directory


def test_the_movie_recommender_is_recorded_compared_restored_and_removed(movies: Path, tmp_path: Path) -> None:
    python("train.py", cwd=movies)
    python("train.py", "--learning-rate", "0.02", "--num-epochs", "60", cwd=movies)

    first, second = keepsake("ls", "-q", cwd=movies).split()
    table = keepsake("ls", cwd=movies)
    for text in (first[:7], second[:7], "stopped", "learning_rate=0.02", "num_epochs=60", "(step 60)", "RMSE=0."):
        assert text in table
    assert "training_data" not in table  # the same in both runs

    shown = keepsake("show", second[:7], cwd=movies)
    assert re.search(r"^training_data: +ratings.csv$", shown, re.MULTILINE)
    assert re.search(r"^ID +STEP +CREATED +MAE +RMSE$", shown, re.MULTILINE)

    compared = keepsake("diff", second[:7], cwd=movies)  # with the one before it
    assert re.search(r"^num_epochs: +20 +60$", compared, re.MULTILINE)

    keepsake("checkout", first[:7], "-o", str(tmp_path / "restored"), cwd=movies)
    for name in ("train.py", "ratings.csv", "keepsake.yaml"):
        assert (tmp_path / "restored" / name).read_bytes() == (movies / name).read_bytes()
    restored, latest = tmp_path / "restored" / "svd_model.pkl", movies / "svd_model.pkl"
    assert restored.read_bytes() != latest.read_bytes()  # the model of the first run, which the second overwrote
    predicted = python(
        "-c", "import pickle; print(pickle.load(open('svd_model.pkl', 'rb')).predict(0, 0).est)", cwd=restored.parent
    )
    assert 1 <= float(predicted) <= 5

    keepsake("rm", "-f", first[:7], cwd=movies)
    assert keepsake("ls", "-q", cwd=movies).split() == [second]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_demo_of_iris_restores_the_best_model_and_predicts_with_it(tmp_path: Path) -> None:
    printed = run(EXAMPLES / "iris" / "demo.sh", sys.prefix, tmp_path / "demo", cwd=tmp_path)
    assert max(len(line) for line in printed.splitlines() if str(tmp_path) not in line and sys.prefix not in line) <= 80
    for command in ("python train.py", "keepsake ls", "keepsake show", "keepsake diff", "keepsake checkout"):
        assert f"$ {command}" in printed
    assert printed.count("epoch 9:") == 2
    assert re.search(r"^lr: +0\.1 +5$", printed, re.MULTILINE)
    assert re.search(r"^\w+ +8 .* 0\.10\d+ \(best\)$", printed, re.MULTILINE)
    assert [line for line in printed.splitlines() if line.startswith("sepal")] == [
        "sepal 5.1 × 3.5 cm, petal 1.4 × 0.2 cm: setosa (it is setosa)",
        "sepal 5.0 × 2.0 cm, petal 3.5 × 1.0 cm: versicolor (it is versicolor)",
        "sepal 6.9 × 3.2 cm, petal 5.7 × 2.3 cm: virginica (it is virginica)",
    ]
    restored = {path.name for path in (tmp_path / "demo" / "best").iterdir()} - {".keepsake"}
    assert restored == {"keepsake.yaml", "model.joblib", "predict.py", "train.py"}
    (commands,) = re.findall(r"^# Go on yourself\..*:\n\n(.*)\Z", printed, re.MULTILINE | re.DOTALL)
    run("sh", "-e", "-c", commands, cwd=tmp_path)
    assert len(keepsake("ls", "-q", cwd=tmp_path / "demo" / "iris").split()) == 3
