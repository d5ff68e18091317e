from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter("runs/no_step")
for i in range(4):
    writer.add_scalar("reward", i * 2.5)
    writer.add_scalar("length", 10 + i)
writer.close()
