import json
import os

import wandb

run = wandb.init(project="artifacts", config={"epochs": 3})
os.makedirs("checkpoints", exist_ok=True)
for epoch in range(run.config.epochs):
    loss = 1 / (epoch + 2)
    run.log({"loss": loss})
    path = "checkpoints/model.json"
    with open(path, "w") as f:
        json.dump({"epoch": epoch, "loss": loss}, f)
    wandb.save(path)

artifact = wandb.Artifact("model", type="model", metadata={"epochs": 3})
artifact.add_file("checkpoints/model.json")
with artifact.new_file("labels.txt") as f:
    f.write("cat\ndog\n")
run.log_artifact(artifact, aliases=["latest", "best"])
with open(os.path.join(wandb.run.dir, "report.txt"), "w") as f:
    f.write("fine")
wandb.finish()
