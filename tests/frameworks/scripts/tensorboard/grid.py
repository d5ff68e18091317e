import itertools

from torch.utils.tensorboard import SummaryWriter

for lr, bsize in itertools.product([0.1, 0.01], [16, 32]):
    with SummaryWriter(f"runs/grid/lr={lr}_bs={bsize}") as w:
        for epoch in range(3):
            w.add_scalar(tag="loss", scalar_value=lr * bsize / (epoch + 1), global_step=epoch)
        w.add_hparams(
            hparam_dict={"lr": lr, "bsize": bsize},
            metric_dict={"hparam/accuracy": 10 * lr, "hparam/loss": lr * bsize / 3},
            global_step=2,
        )
