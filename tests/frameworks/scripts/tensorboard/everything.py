from torch.utils.tensorboard import SummaryWriter

values = [0.1, 0.2, 0.2, 0.7]
writer = SummaryWriter(comment="_everything")
assert "_everything" in writer.log_dir
for n_iter in range(4):
    writer.add_scalar("data/scalar1", values[n_iter], n_iter)
    writer.add_scalars("data/group", {"one": n_iter, "two": n_iter * 2, "three": -1}, n_iter)
    writer.add_text("Text", f"text logged at step:{n_iter}", n_iter)
    writer.add_scalar("epoch", n_iter, n_iter, None)
writer.add_custom_scalars_multilinechart(["data/scalar1", "epoch"], category="charts", title="both")
writer.add_custom_scalars_marginchart(["data/scalar1", "epoch", "data/scalar1"])
writer.flush()
writer.close()
