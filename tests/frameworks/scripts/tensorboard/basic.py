import math

from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter("runs/basic")
for epoch in range(10):
    train_loss = math.exp(-epoch / 5)
    val_loss = math.exp(-epoch / 6)
    writer.add_scalar("Loss/train", train_loss, epoch)
    writer.add_scalar("Loss/val", val_loss, epoch)
    writer.add_scalar("lr", 0.1 * 0.9**epoch, epoch)
writer.flush()
writer.close()
