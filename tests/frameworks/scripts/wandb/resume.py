import os

import wandb

ID_FILE = "wandb_id.txt"


def main(first, last):
    run_id = open(ID_FILE).read() if os.path.exists(ID_FILE) else None
    run = wandb.init(project="resume", id=run_id, resume="allow", config={"lr": 0.1})
    with open(ID_FILE, "w") as f:
        f.write(run.id)
    for step in range(first, last):
        run.log({"loss": 1 / (step + 1)}, step=step)
    run.finish()


main(0, 5)
main(5, 9)
