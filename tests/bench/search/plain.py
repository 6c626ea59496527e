"""The baseline: what a good engineer writes to search over the digits with Optuna and Keras, in one process.

`python -m tests.bench.search.plain TRIALS.json`: a JSON list of the trials' parameters, and the epochs of each. The
trials are given, so that both sides train the same ones; prints the best test accuracy and the seconds of each trial.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main(path: str) -> None:
    asked = json.loads(Path(path).read_text())
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    rest, test, rest_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=7, stratify=labels
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=0.125, random_state=7, stratify=rest_labels
    )
    best: dict[str, Any] = {"loss": float("inf")}
    seconds = []

    def objective(trial: optuna.Trial) -> float:
        began = time.perf_counter()
        rate = trial.suggest_float("learning_rate", 0.0003, 0.03, log=True)
        dropout = trial.suggest_categorical("dropout", [0.0, 0.2, 0.4])
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        layers: list[Any] = [keras.Input((64,)), keras.layers.Dense(64, activation="relu")]
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
        model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        fitted = model.fit(
            train,
            train_labels,
            batch_size=64,
            epochs=asked["epochs"],
            validation_data=(validation, validation_labels),
            verbose=0,
        )
        loss = float(min(fitted.history["val_loss"]))
        if loss < best["loss"]:
            best.update(loss=loss, model=model)
        seconds.append(time.perf_counter() - began)
        return loss

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=7))
    for params in asked["trials"]:
        study.enqueue_trial(params)
    study.optimize(objective, n_trials=len(asked["trials"]))
    answers = best["model"].predict(test, verbose=0)
    best["model"].save("best.keras")
    print(json.dumps({"accuracy": float(np.mean(answers.argmax(axis=1) == test_labels)), "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
