import wandb

config = {"lr": 3e-4, "layers": [64, 64], "activation": "relu", "warmup": None}

with wandb.init(project="ctx", config=config, group="seeds", job_type="train", notes="with block") as run:
    for i in range(1, 6):
        run.log({"loss": 2**-i, "lr": run.config.lr * (1 - i / 10)})
    run.summary.update({"final": {"loss": 2**-5}, "converged": True})
    run.alert(title="Done", text="The training is over.")
