import argparse

import wandb

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--optimizer", default="sgd")
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--no-cuda", action="store_true")
args = parser.parse_args([])

run = wandb.init(project="argparse", config=vars(args), job_type="train", save_code=True)
wandb.config.update({"model": "resnet18", "lr": 0.02}, allow_val_change=True)
wandb.config["depth"] = 18
wandb.config.width = 64
wandb.config.setdefaults({"seed": 1, "dropout": 0.1})

velocity = 0.0
x = 5.0
for step in range(10):
    gradient = 2 * x
    velocity = args.momentum * velocity - wandb.config["lr"] * gradient
    x += velocity
    run.log({"x": x, "objective": x * x})
run.finish()
