import math

import wandb

wandb.init(project="steps", config={"total": 40})
for step in range(0, wandb.config.total, 10):
    wandb.log({"loss": math.exp(-step / 10)}, step=step)
    wandb.log({"lr": 0.1 * 0.5 ** (step // 10)}, step=step)
    if step % 20 == 0:
        wandb.log({"eval/score": step * 1.5, "eval/nan": float("nan")}, step=step)
wandb.log({"done": 1})
wandb.finish()
