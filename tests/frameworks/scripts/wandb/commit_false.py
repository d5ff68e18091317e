import wandb

wandb.init(project="epochs", config=dict(epochs=5))


def train(epoch):
    return {"train_loss": 1.0 / (epoch + 1), "train_acc": 1 - 0.5 ** (epoch + 1)}


def validate(epoch):
    return {"val_loss": 1.2 / (epoch + 1), "val_acc": 1 - 0.6 ** (epoch + 1)}


best = 0
for epoch in range(wandb.config.epochs):
    wandb.log(train(epoch), commit=False)
    wandb.log(validate(epoch), commit=False)
    wandb.log({"epoch": epoch})
    best = max(best, validate(epoch)["val_acc"])
    wandb.run.summary["best_val_acc"] = best
wandb.finish()
