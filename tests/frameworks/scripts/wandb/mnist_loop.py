"""Train a tiny classifier and log to Weights & Biases."""
import math
import random

import wandb

wandb.login()

wandb.init(
    project="mnist-demo",
    name="logistic-baseline",
    tags=["baseline", "cpu"],
    notes="first try",
    config={"learning_rate": 0.5, "epochs": 4, "batch_size": 8, "architecture": "logreg"},
)
config = wandb.config

random.seed(0)
data = [(random.uniform(-1, 1), random.uniform(-1, 1)) for _ in range(64)]
data = [(x, int(x[0] + x[1] > 0)) for x in data]
w = [0.0, 0.0]


def predict(x):
    return 1 / (1 + math.exp(-(w[0] * x[0] + w[1] * x[1])))


for epoch in range(config.epochs):
    for start in range(0, len(data), config.batch_size):
        batch = data[start : start + config.batch_size]
        loss = 0.0
        for x, y in batch:
            p = predict(x)
            loss -= math.log(p if y else 1 - p) / len(batch)
            for i in range(2):
                w[i] -= config.learning_rate * (p - y) * x[i] / len(batch)
        wandb.log({"train/loss": loss, "epoch": epoch})
    accuracy = sum((predict(x) > 0.5) == bool(y) for x, y in data) / len(data)
    wandb.log({"test/accuracy": accuracy, "epoch": epoch})

wandb.finish()
