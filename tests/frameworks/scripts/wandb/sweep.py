import math

import wandb

sweep_configuration = {
    "name": "my-awesome-sweep",
    "method": "grid",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {
        "batch_size": {"values": [16, 32]},
        "optimizer": {"parameters": {"lr": {"values": [0.1, 0.01]}}},
        "epochs": {"value": 3},
    },
}


def main():
    with wandb.init(project="my-first-sweep") as run:
        config = wandb.config
        lr = config["optimizer"]["lr"]
        for epoch in range(config.epochs):
            train_acc = 1 - math.exp(-(epoch + 1) * lr)
            run.log({"epoch": epoch, "train_acc": train_acc, "val_loss": config.batch_size * (1 - train_acc)})


sweep_id = wandb.sweep(sweep=sweep_configuration, project="my-first-sweep")
wandb.agent(sweep_id, function=main, count=4)
wandb.teardown()
