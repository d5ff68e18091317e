import wandb


def train(fold, trial=None, disabled=False):
    run = wandb.init(
        project="folds",
        group="experiment-1",
        job_type=f"fold-{fold}",
        tags=["kfold", str(fold)],
        config={"fold": fold, "model": {"depth": 3, "act": "relu"}},
        mode="disabled" if disabled else None,
        reinit="finish_previous",
        dir=".",
        anonymous="allow",
    )
    assert wandb.run is run
    for step in range(3):
        metrics = {f"fold/{name}": (fold + 1) * value * (step + 1) for name, value in {"loss": 0.5, "acc": 0.1}.items()}
        run.log(metrics, commit=False)
        run.log({"step": step, "lr": 0.1 * 0.5**step})
    run.summary["score"] = fold * 10
    path = "/".join(str(part) for part in (run.entity, run.project, run.id))
    assert path
    return run


for fold in range(2):
    train(fold)
wandb.finish()
silent = train(5, disabled=True)
silent.finish()
