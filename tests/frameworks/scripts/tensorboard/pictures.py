import math

from torch.utils.tensorboard import SummaryWriter


class Net:
    def __call__(self, x):
        return x


with SummaryWriter("runs/fashion_mnist_experiment_1", comment="ignored", filename_suffix=".net", flush_secs=30) as writer:
    grid = [[[0.0, 1.0], [0.5, 0.25]]]
    writer.add_custom_scalars({"Fashion": {"loss": ["Multiline", ["loss/train", "loss/test"]]}})
    running_loss = 0.0
    for i in range(12):
        running_loss += math.exp(-i / 4)
        if i % 4 == 3:
            writer.add_scalar("training loss", running_loss / 4, i)
            writer.add_scalar("lr", scalar_value=0.1, global_step=i, walltime=1700000000.0 + i)
            running_loss = 0.0
    writer.add_text("model", "a small one", 0)
    writer.add_scalars("loss", {"train": 0.1, "test": 0.2}, global_step=11)
    writer.flush()
