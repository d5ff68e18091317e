from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter(log_dir="logs/resnet/version_0", max_queue=5)
total_steps = 6
for global_step in range(total_steps):
    writer.add_scalar("Train/Loss", 1 / (1 + global_step), global_step)
    if global_step % 2:
        writer.add_scalar("Valid/Acc", global_step / 10, global_step)
writer.add_hparams({"lr": 0.1, "bsize": 4, "pretrained": True}, {"hparam/acc": 0.5}, run_name=".")
writer.close()
