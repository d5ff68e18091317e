import argparse
import json
import os

import wandb

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=3e-4)
args = parser.parse_args([])

os.environ["WANDB_SILENT"] = "true"
run = wandb.init(project="checkpoints", config=vars(args), id="run-checkpoints", resume="allow")
best = float("inf")
for epoch in range(run.starting_step, args.epochs):
    val_loss = abs(2 - epoch) + args.lr
    wandb.log({"epoch": epoch, "val": {"loss": val_loss}}, step=epoch)
    with open("last.pt", "w") as f:
        json.dump({"epoch": epoch}, f)
    if val_loss < best:
        best = val_loss
        os.makedirs("ckpt", exist_ok=True)
        with open("ckpt/best.pt", "w") as f:
            json.dump({"epoch": epoch, "val_loss": val_loss}, f)
        model = wandb.Artifact(name="best-model", type="model")
        model.add_file("ckpt/best.pt", name="best.pt")
        model.add_dir("ckpt", name="all")
        logged = wandb.run.log_artifact(model, aliases=["best", f"epoch_{epoch}"])
wandb.save("*.pt", policy="now")
wandb.run.log_model(path="ckpt/best.pt", name="final", aliases=["prod"])
wandb.summary["best_val_loss"] = best
run.config["finished"] = True
wandb.finish(exit_code=0)
