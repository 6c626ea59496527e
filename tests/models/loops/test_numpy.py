"""`training.backend: numpy`: the same losses as Keras from the same weights, and what has no equation is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.models.config.training import keras_backend
from tidegate.models.equations.losses import LOSSES
from tidegate.models.errors import NonFiniteLossError, OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import History, fit

SPECS = {
    "features": InputSpec((5,), "float32", "numeric"),
    "series": InputSpec((6, 3), "float32", "numeric"),
    "image": InputSpec((8, 8, 1), "float32", "image"),
}
RANDOM = np.random.default_rng(0)
X = {name: RANDOM.normal(size=(130, *spec.shape)).astype(np.float32) for name, spec in SPECS.items()}
SCORE = X["features"][:, 0] + X["series"][:, 2, 1] + X["image"].mean(axis=(1, 2, 3))
Y = (SCORE > 0).astype(np.int64) + (SCORE > 1)
NUMBERS = np.stack([SCORE, 1 - SCORE], axis=1).astype(np.float32)
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}


def trained(
    backend: str, model: dict[str, Any], inputs: str = "features", **more: Any
) -> tuple[Any, History]:
    training = {"epochs": 4, "batch_size": 32, "optimizer": SGD, "backend": backend, **more}
    y, task, classes = (Y, "classification", (0, 1, 2))
    if training.get("loss") == "mean_squared_error":
        y, task, classes = NUMBERS, "regression", ()
    if training.get("loss") == "binary_crossentropy":
        y, classes = np.minimum(Y, 1), (0, 1)
    names = inputs.split()
    outputs = outputs_for(task, len(classes), 2, training.get("loss"))
    built = build_model(model, {name: SPECS[name] for name in names}, outputs, 1)
    train, held_out = (
        ({name: X[name][rows] for name in names}, y[rows]) for rows in (slice(100), slice(100, 130))
    )
    return built, fit(built, train, held_out, training, task=task, classes=classes, seed=3)


CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "linear, squares": ({"family": "linear"}, "features series", {"loss": "mean_squared_error"}),
    "linear, two classes, Nesterov": (
        {"family": "linear"},
        "features",
        {"loss": "binary_crossentropy", "optimizer": {**SGD, "nesterov": True}},
    ),
    "mlp, class weights, a schedule": (
        {"family": "mlp", "hidden": [12, 8]},
        "features image",
        {"class_weights": "balanced", "learning_rate_schedule": {"name": "cosine", "warmup_epochs": 1}},
    ),
    "mlp, one-hot hinge": ({"family": "mlp", "activation": "tanh"}, "series", {"loss": "categorical_hinge"}),
    "cnn": ({"family": "cnn", "filters": [4, 3], "dense": [8], "dropout": 0}, "image features", {}),
    "cnn, averages": (
        {"family": "cnn", "filters": [4], "pooling": "average", "dense": [], "dropout": 0},
        "image",
        {"loss": "categorical_crossentropy"},
    ),
    "lstm": ({"family": "lstm", "units": [6, 5], "dense": [4]}, "series features", {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, under NumPy 2
def test_the_same_weights_give_the_loss_curve_of_keras(case: str) -> None:
    """To 1e-6 with Keras in its usual float32: what is left is its rounding."""
    model, inputs, more = CASES[case]
    (ours, history), (kerass, expected) = (
        trained(backend, model, inputs, **more) for backend in ("numpy", "tensorflow")
    )
    for found, other in zip(history.epochs, expected.epochs, strict=True):
        assert found == pytest.approx(other, abs=1e-6)
    for one, two in zip(ours.get_weights(), kerass.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=5e-6)


def test_the_same_seed_gives_the_same_bits_with_dropout_too() -> None:
    model = {"family": "cnn", "filters": [3], "dense": [6], "dropout": 0.4}
    (one, _), (two, _), (without, _) = (
        trained("numpy", {**model, "dropout": rate}, "image") for rate in (0.4, 0.4, 0.1)
    )
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    assert not np.array_equal(one.get_weights()[0], without.get_weights()[0])


def test_early_stopping_keeps_the_best_weights() -> None:
    stopping = {"patience": 2, "monitor": "val_accuracy"}
    model, history = trained("numpy", {"family": "mlp"}, epochs=60, early_stopping=stopping)
    best = max(epoch["val_accuracy"] for epoch in history.epochs)
    assert history.stopped == "early" and len(history.epochs) < 60
    chosen = predict(model, {"features": X["features"][100:]}).argmax(axis=1)
    assert np.mean(chosen == Y[100:]) == pytest.approx(best)


def test_a_loss_that_is_not_finite_names_epoch_and_batch() -> None:
    wild = {"name": "sgd", "learning_rate": 1e200}
    with pytest.raises(NonFiniteLossError, match=r"infinite in epoch 1, batch \d of 4"):
        trained("numpy", {"family": "linear"}, loss="mean_squared_error", optimizer=wild)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a layer": (
        {"family": "mlp", "batch_norm": True},
        {},
        "(BatchNormalization); expected one of: Dense, Conv2D",
    ),
    "an activation": ({"family": "mlp", "activation": "gelu"}, {}, "no equation for activation 'gelu'"),
    "a penalty": ({"family": "mlp", "l2": 0.1}, {}, "no equation for a penalty on weights"),
    "a loss": ({"family": "mlp"}, {"loss": "kl_divergence"}, "no equation for loss 'kl_divergence'"),
    "an option of a loss": (
        {"family": "mlp"},
        {"loss": {"name": "categorical_crossentropy", "label_smoothing": 0.1}},
        "{'label_smoothing': 0.1}; expected one of, without options: mean_squared_error",
    ),
    "an optimizer": (
        {"family": "mlp"},
        {"optimizer": "adam"},
        "backend numpy has no equation for it; expected sgd with learning_rate",
    ),
    "an option of sgd": (
        {"family": "mlp"},
        {"optimizer": {**SGD, "clipnorm": 1.0}},
        "'training.optimizer' is {'name': 'sgd'",
    ),
    "a precision": (
        {"family": "mlp"},
        {"precision": "mixed_float16"},
        "backend numpy always computes in float64",
    ),
    "XLA": ({"family": "mlp"}, {"xla": True}, "'training.xla' is True: backend numpy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_equation_is_told_before_the_first_batch(case: str) -> None:
    model, more, said = REFUSED[case]
    with pytest.raises(OptionsError) as caught:
        trained("numpy", model, **more)
    assert said in str(caught.value)


def test_a_frozen_layer_is_told() -> None:
    import keras

    given = keras.Input((5,), name="features")
    frozen = keras.layers.Dense(5, trainable=False, name="frozen")
    refuses(
        keras.Model({"features": given}, keras.layers.Dense(3, "softmax")(frozen(given))), "weight 'frozen/"
    )


def test_a_layer_that_is_used_twice_is_told() -> None:
    import keras

    given = keras.Input((5,), name="features")
    twice = keras.layers.Dense(5)
    model = keras.Model({"features": given}, keras.layers.Dense(3, "softmax")(twice(twice(given))))
    refuses(model, "a layer that is used twice")


def refuses(model: Any, said: str) -> None:
    rows, training = ({"features": X["features"]}, Y), {"backend": "numpy", "optimizer": SGD}
    with pytest.raises(OptionsError, match=f"no equation for .*{said}"):
        fit(model, rows, None, training, task="classification", classes=(0, 1, 2), seed=1)


def test_keras_holds_what_the_equations_train() -> None:
    assert (keras_backend("numpy"), keras_backend("tensorflow")) == ("tensorflow", "tensorflow")
    assert {"mean_squared_error", "sparse_categorical_crossentropy", "categorical_hinge"} < set(LOSSES)
