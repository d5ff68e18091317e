import os

from torch.utils.tensorboard import SummaryWriter

log_dir = os.path.join("logs", "experiment1")
train_writer = SummaryWriter(os.path.join(log_dir, "train"))
val_writer = SummaryWriter(os.path.join(log_dir, "val"))

for step in range(8):
    train_writer.add_scalar("loss", 1 / (step + 1), step)
    if step % 2 == 1:
        val_writer.add_scalar("loss", 1.5 / (step + 1), step)
        val_writer.add_scalar("accuracy", 1 - 1 / (step + 2), step)

train_writer.close()
val_writer.close()
