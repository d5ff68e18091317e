from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter(log_dir="runs/iterations", comment="LR_0.1", flush_secs=30)
n_iter = 0
for epoch in range(3):
    running_loss = 0.0
    for i in range(20):
        running_loss += 1 / (n_iter + 1)
        n_iter += 1
        if i % 5 == 4:
            writer.add_scalar("training_loss", running_loss / 5, n_iter)
            running_loss = 0.0
    writer.add_scalar("epoch/accuracy", 1 - 0.5 ** (epoch + 1), epoch)
    writer.add_text("note", f"epoch {epoch} is over", epoch)
    writer.add_histogram("weights", [0.1 * epoch, 0.2, 0.3], epoch)
writer.close()
