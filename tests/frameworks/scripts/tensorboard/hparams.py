from torch.utils.tensorboard import SummaryWriter

for lr in (0.1, 0.01):
    for hidden in (16, 32):
        writer = SummaryWriter(f"runs/lr{lr}_h{hidden}")
        accuracy = 0.0
        for step in range(5):
            accuracy = 1 - lr / (step + hidden)
            writer.add_scalar("accuracy", accuracy, step)
        writer.add_hparams({"lr": lr, "hidden": hidden, "opt": "sgd"}, {"hparam/accuracy": accuracy}, global_step=4)
        writer.close()
