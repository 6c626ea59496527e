"""The project's own training, as it was before: `python -m churn.train`, beside the folder `data`."""

from __future__ import annotations

from pathlib import Path

import keras
import pandas as pd

from churn.features import SEGMENTS, build_features
from churn.models.net import make_model


def main() -> None:
    """Train on all months but the last, and print the last month's figures."""
    months = sorted(Path("data").glob("*/*.parquet"))
    train, test = pd.concat([pd.read_parquet(month) for month in months[:-1]]), pd.read_parquet(months[-1])
    truth = train["churned"].to_numpy("float32")
    model = make_model(len(SEGMENTS))
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    weights = {0: 0.5 / (1 - truth.mean()), 1: 0.5 / truth.mean()}
    stop = keras.callbacks.EarlyStopping("val_auc", mode="max", patience=4, restore_best_weights=True)
    features = build_features(train)
    model.fit(
        features,
        truth,
        validation_split=0.1,
        epochs=12,
        batch_size=64,
        class_weight=weights,
        callbacks=[stop],
    )
    print(
        model.evaluate(build_features(test), test["churned"].to_numpy("float32"), return_dict=True, verbose=0)
    )
    model.save("churn.keras")


if __name__ == "__main__":
    main()
