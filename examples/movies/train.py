"""Trains a movie recommender by singular value decomposition, and keeps the model with its cross-validated errors."""

import argparse
import pickle
from pathlib import Path

import pandas
from surprise import SVD, Dataset, Reader
from surprise.model_selection import cross_validate

import keepsake


def train(learning_rate: float, num_epochs: int, training_data_path: str) -> None:
    """Cross-validate, then fit to all ratings."""
    experiment = keepsake.init(
        path=".",
        params={"learning_rate": learning_rate, "num_epochs": num_epochs, "training_data": training_data_path},
    )

    data = pandas.read_csv(training_data_path)
    dataset = Dataset.load_from_df(data[["userid", "movieid", "rating"]], Reader(rating_scale=(1, 5)))
    algo = SVD(lr_all=learning_rate, n_epochs=num_epochs, random_state=0)
    cv_results = cross_validate(algo, dataset, measures=["RMSE", "MAE"], cv=5, verbose=True)
    rmse_mean = cv_results["test_rmse"].mean()
    mae_mean = cv_results["test_mae"].mean()

    algo.fit(dataset.build_full_trainset())
    Path("svd_model.pkl").write_bytes(pickle.dumps(algo))

    experiment.checkpoint(
        path="svd_model.pkl",
        step=num_epochs,
        metrics={"RMSE": rmse_mean, "MAE": mae_mean},
        primary_metric=("RMSE", "minimize"),
    )
    experiment.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    parser.add_argument("--num-epochs", type=int, default=20)
    parser.add_argument("--training-data", default="ratings.csv")
    arguments = parser.parse_args()
    train(arguments.learning_rate, arguments.num_epochs, arguments.training_data)
