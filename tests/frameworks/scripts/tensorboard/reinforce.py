import os
import time

from torch.utils.tensorboard import SummaryWriter

exp_name, env_id, seed = "ppo", "CartPole-v1", 1
run_name = f"{env_id}__{exp_name}__{seed}"
writer = SummaryWriter(f"runs/{run_name}")
args = {"exp_name": exp_name, "seed": seed, "total_timesteps": 64}
writer.add_text(
    "hyperparameters",
    "|param|value|\n|-|-|\n%s" % ("\n".join([f"|{key}|{value}|" for key, value in args.items()])),
)
start_time = time.time()
global_step = 0
for update in range(1, 5):
    for step in range(4):
        global_step += 4
        if step == 2:
            writer.add_scalar("charts/episodic_return", 10 * update + step, global_step)
            writer.add_scalar("charts/episodic_length", 5 * update, global_step)
    writer.add_scalar("charts/learning_rate", 2.5e-4 * (1 - update / 5), global_step)
    writer.add_scalar("losses/value_loss", 1 / update, global_step)
    writer.add_scalar("losses/policy_loss", -0.01 * update, global_step)
    assert time.time() >= start_time and os.path.isdir(writer.log_dir)
writer.close()
