import wandb

wandb.init(project="tables", config={"threshold": 0.5})

table = wandb.Table(columns=["id", "prediction", "truth"])
correct = 0
for i in range(10):
    prediction, truth = i % 3, i % 2
    table.add_data(i, prediction, truth)
    correct += prediction == truth
    wandb.log({"running_accuracy": correct / (i + 1), "label": "even" if i % 2 == 0 else "odd"})

wandb.log({"predictions": table, "num_rows": len(table.data)})
wandb.log({"weights": wandb.Histogram([1, 2, 2, 3]), "count": 4})
wandb.log({"page": wandb.Html("<b>fine</b>"), "size": 11})
wandb.log({"pr": wandb.plot.line_series(xs=[0, 1], ys=[[0, 1]], keys=["a"], title="line"), "area": 0.5})
wandb.finish()
