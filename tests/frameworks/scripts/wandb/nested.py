import wandb

cfg = {
    "model": {"name": "vit", "patch": 16, "heads": {"count": 8}},
    "optim": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.95]},
    "seed": 7,
}
run = wandb.init(project="nested", config=cfg, mode="offline")
lr = run.config["optim"]["lr"]
for step in range(6):
    run.log({
        "train": {"loss": lr * step, "grad": {"norm": step / 3}},
        "val": {"loss": lr * step * 2},
        "lr": lr,
    })
run.finish()
