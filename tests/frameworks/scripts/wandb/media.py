import wandb

images = [[[0, 64], [128, 255]]] * 3
labels = ["cat", "dog", "cat"]
with wandb.init(project="media", job_type="eval", group="images", mode="offline", notes="what it looks like") as run:
    classes = wandb.Classes([{"name": "cat", "id": 0}, {"name": "dog", "id": 1}])
    artifact = wandb.Artifact("predictions", "dataset", "a table", {"rows": 3})
    table = wandb.Table(columns=["id", "truth", "guess", "score"])
    correct = 0
    for number, label in enumerate(labels):
        guess = "cat"
        correct += label == guess
        table.add_data(number, label, guess, 0.5 + number / 10)
        run.log({"correct": correct, "seen": number + 1}, step=number)
    table.add_column("wrong", [row[1] != row[2] for row in table.data])
    scores = table.get_column("score")
    run.log({"predictions": table, "mean_score": sum(scores) / len(scores)})
    run.log({"pr": wandb.plot.bar(table, "truth", "score", title="scores")})
    run.log({"curve": wandb.plot.line_series(xs=[0, 1, 2], ys=[[1, 2, 3]], keys=["a"], title="t", xname="x")})
    artifact.add(table, "predictions")
    run.log_artifact(artifact, aliases=["latest"])
    run.summary["accuracy"] = correct / len(labels)
    rows = [row for _, row in table.iterrows()]
    assert len(rows) == 3 and len(rows[0]) == 5
