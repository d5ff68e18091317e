import math

from torch.utils.tensorboard import SummaryWriter

with SummaryWriter("runs/scalars") as w:
    r = 5
    for i in range(20):
        w.add_scalars("run_14h", {"xsinx": i * math.sin(i / r), "xcosx": i * math.cos(i / r)}, i)
        w.add_scalar("tan", math.tan(i / r), i)
