"""Trains a linear classifier on the iris flowers, an epoch at a time, and keeps every epoch's weights."""

import argparse

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keepsake


def train(lr: float, epochs: int) -> None:
    """Train with a constant learning rate, for a number of passes over the data."""
    experiment = keepsake.init(path=".", params={"lr": lr, "epochs": epochs})

    iris = load_iris()
    x_train, x_val, y_train, y_val = train_test_split(
        iris.data, iris.target, test_size=0.2, random_state=0, stratify=iris.target
    )
    scaler = StandardScaler().fit(x_train)
    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=lr, random_state=0)
    model = make_pipeline(scaler, classifier)

    for epoch in range(1, epochs + 1):
        classifier.partial_fit(scaler.transform(x_train), y_train, classes=[0, 1, 2])
        metrics = {
            "train_loss": log_loss(y_train, model.predict_proba(x_train)),
            "val_loss": log_loss(y_val, model.predict_proba(x_val)),
            "val_accuracy": accuracy_score(y_val, model.predict(x_val)),
        }
        joblib.dump(model, "model.joblib")
        experiment.checkpoint(path="model.joblib", step=epoch, metrics=metrics, primary_metric=("val_loss", "minimize"))
        if epoch % 3 == 0:
            print(f"epoch {epoch}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.01, help="the learning rate")
    parser.add_argument("--epochs", type=int, default=9)
    arguments = parser.parse_args()
    train(arguments.lr, arguments.epochs)
