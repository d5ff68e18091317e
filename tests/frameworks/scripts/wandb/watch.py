import os
import random

import wandb

wandb.require("core")
wandb.login(key=os.environ.get("WANDB_API_KEY"), relogin=True)


class Model:
    def __init__(self):
        self.weight = 0.0

    def parameters(self):
        return [self.weight]


run = wandb.init(
    None,
    "watching",
    name="eager-lion-1",
    config=dict(lr=0.1, steps=5),
    settings=wandb.Settings(console="off"),
    save_code=True,
    reinit=True,
)
config = run.config
config.update({"lr": 0.05, "seed": 3}, allow_val_change=True)
config.setdefaults({"momentum": 0.9, "lr": 7})
random.seed(config.seed)
model = Model()
wandb.watch(model, None, log="all", log_freq=10, idx=0, log_graph=True)
run.log_code(".", include_fn=lambda path: path.endswith(".py"))
wandb.define_metric("global_step")
wandb.define_metric("train/*", step_metric="global_step")
wandb.define_metric("train/loss", summary="min", step_metric="global_step")
for step in range(config.steps):
    model.weight += config.lr * (1 - model.weight)
    loss = (1 - model.weight) ** 2
    wandb.log({"global_step": step * 10, "train/loss": loss, "weights": wandb.Histogram([model.weight] * 4)})
    if loss < 0.7:
        wandb.alert(title="Low loss", text=f"{loss:.3f}", level=wandb.AlertLevel.WARN, wait_duration=300)
wandb.unwatch(model)
wandb.run.summary["final_weight"] = model.weight
assert wandb.run.project == "watching"
assert wandb.run.starting_step == 0 and not wandb.run.resumed
wandb.finish(0)
