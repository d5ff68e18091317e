import itertools

import wandb

for lr, depth in itertools.product([0.1, 0.01], [2, 3]):
    run = wandb.init(project="grid", name=f"lr{lr}-d{depth}", config={"lr": lr, "depth": depth}, reinit=True)
    for epoch in range(3):
        wandb.log({"epoch": epoch, "acc": 1 - lr / (epoch + depth)})
    run.finish()
