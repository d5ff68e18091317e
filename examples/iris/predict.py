"""Loads the model that train.py left here, or that `keepsake checkout` brought here, and names some flowers."""

import joblib
from sklearn.datasets import load_iris

iris = load_iris()
model = joblib.load("model.joblib")
for flower in (0, 60, 120):
    sepal_length, sepal_width, petal_length, petal_width = iris.data[flower]
    prediction = iris.target_names[model.predict(iris.data[[flower]])[0]]
    print(
        f"sepal {sepal_length} × {sepal_width} cm, petal {petal_length} × {petal_width} cm: "
        f"{prediction} (it is {iris.target_names[iris.target[flower]]})"
    )
