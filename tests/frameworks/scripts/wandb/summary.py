import wandb

wandb.init(project="summary", name="with-summary")
wandb.define_metric("epoch")
wandb.define_metric("val_loss", step_metric="epoch", summary="min")

losses = [0.9, 0.5, 0.3, 0.4, 0.45]
best_loss, best_epoch = float("inf"), -1
for epoch, loss in enumerate(losses):
    wandb.log({"epoch": epoch, "val_loss": loss})
    if loss < best_loss:
        best_loss, best_epoch = loss, epoch
wandb.run.summary["best_loss"] = best_loss
wandb.run.summary["best_epoch"] = best_epoch
wandb.summary["test_accuracy"] = 0.875
wandb.finish(exit_code=0)
