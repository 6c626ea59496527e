"""Every option of `training` is used: each one, changed by itself, changes the weights or what a training tells.

A new option needs a line in CHANGED, or in EXEMPT with a reason. The other parts of the experiment are in
tests/pipelines/planning/test_every_option.py.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from tests.options import leaves
from tidegate.models.config.class_weights import class_weights
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.augmentation import _layers
from tidegate.models.training.callbacks import callbacks_for
from tidegate.models.training.compile import compile_model
from tidegate.models.training.fit import fit

EXEMPT = {
    "backend": "the same curves on every backend: tests/models/loops",
    "xla": "the same losses, only sooner: tests/models/training/test_fit.py",
    "checkpoint.every": "the same bits after a kill: tests/models/training/test_checkpoint.py",
    "explain": "figures of a trained model: tests/models/explaining",
    "privacy.noise_multiplier": "compiles for seconds: tests/models/loops/test_dp_sgd.py",
    "privacy.clip_norm": "as above",
    "privacy.delta": "as above",
    "outputs.loss": "of several outputs: tests/models/training/test_several_outputs.py",
    "outputs.weight": "as above",
    "outputs.metrics": "as above",
    "function": "a loop of the user's own: tests/models/training/test_own_function.py",
    "options": "as above",
    "callbacks": "Keras' own loop: tests/models/training/test_keras_loop.py",
    "thresholds": "chosen of a trained model: tests/models/training/test_label_thresholds.py",
    "calibration": "changes a trained model: tests/models/training/test_calibration.py",
    "learning_rate_schedule[Cosine].name": "chooses the kind, whose other options are changed",
    "learning_rate_schedule[Exponential].name": "as above",
    "learning_rate_schedule[Step].name": "as above",
    "learning_rate_schedule[Plateau].name": "as above",
}
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((36, 4, 4, 1)).astype(np.float32)
CLASSES = (IMAGES.mean(axis=(1, 2, 3)) + RANDOM.normal(0, 0.05, 36) > 0.5).astype(np.int64)
SPECS = {"x": InputSpec((4, 4, 1), "float32", "image", 0)}
STOPPED = {"early_stopping": {"patience": 1}}
SLOWER = {"learning_rate_schedule": {"name": "reduce_on_plateau", "patience": 0}}


def of(part: str, name: str, value: Any, before: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A training, and the same with one option of a part changed."""
    return before, {**before, part: {**before.get(part, {}), name: value}}


def schedule(before: dict[str, Any], **change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    part = "learning_rate_schedule"
    return {part: before}, {part: before | change}


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "epochs": ({}, {"epochs": 2}),
    "batch_size": ({}, {"batch_size": 5}),
    "optimizer": ({}, {"optimizer": {"name": "adam", "learning_rate": 0.3}}),
    "loss": ({}, {"loss": "kl_divergence"}),
    "metrics": ({}, {"metrics": ["sparse_categorical_crossentropy"]}),
    "early_stopping.patience": of("early_stopping", "patience", 4, STOPPED),
    "early_stopping.monitor": of("early_stopping", "monitor", "accuracy", STOPPED),
    "early_stopping.min_delta": of("early_stopping", "min_delta", 1e6, STOPPED),
    "early_stopping.restore_best": of("early_stopping", "restore_best", False, STOPPED),
    "learning_rate_schedule[Cosine].final": schedule({"name": "cosine"}, final=0.5),
    "learning_rate_schedule[Cosine].warmup_epochs": schedule({"name": "cosine"}, warmup_epochs=2),
    "learning_rate_schedule[Exponential].factor": schedule({"name": "exponential"}, factor=0.5),
    "learning_rate_schedule[Step].every": schedule({"name": "step"}, every=1),
    "learning_rate_schedule[Step].factor": schedule({"name": "step", "every": 1}, factor=0.9),
    "learning_rate_schedule[Plateau].factor": of("learning_rate_schedule", "factor", 0.1, SLOWER),
    "learning_rate_schedule[Plateau].patience": of("learning_rate_schedule", "patience", 4, SLOWER),
    "learning_rate_schedule[Plateau].minimum": of("learning_rate_schedule", "minimum", 30.0, SLOWER),
    "learning_rate_schedule[Plateau].monitor": of("learning_rate_schedule", "monitor", "accuracy", SLOWER),
    "class_weights": ({}, {"class_weights": {"no": 3.0}}),
    "label_smoothing": ({}, {"label_smoothing": 0.2}),
    "regularization.l1": ({}, {"regularization": {"l1": 0.1}}),
    "regularization.l2": ({}, {"regularization": {"l2": 0.1}}),
    "augmentation.flip": ({}, {"augmentation": {"flip": "both"}}),
    "augmentation.rotate": ({}, {"augmentation": {"rotate": 90}}),
    "augmentation.shift": ({}, {"augmentation": {"shift": 0.5}}),
    "augmentation.noise": ({}, {"augmentation": {"noise": 0.2}}),
    "precision": ({}, {"precision": "float64"}),
}
FITTED = ("epochs", "batch_size")
FOUND: dict[str, Any] = {}


def new_model(precision: Any = "float32") -> Any:
    return build_model({"family": "linear"}, SPECS, outputs_for("classification", 2, 0), 1, precision)


def configured(training: dict[str, Any]) -> list[Any]:
    """What Keras is told: optimizer, loss, metrics, penalties, callbacks, changes of images, weights and precision."""
    options = parse_options(Training, {"epochs": 4} | training, "training")
    model = new_model(options.precision)
    loss = compile_model(model, ({"x": IMAGES}, CLASSES), options, "classification", 2, 3)
    callbacks = callbacks_for(model, options, True).callbacks
    weights = class_weights(options.class_weights, np.bincount(CLASSES), ("no", "yes"))
    return [
        model.optimizer.get_config(),
        loss,
        list(model.get_metrics_result()),
        [
            variable.regularizer and variable.regularizer.get_config()
            for variable in model.trainable_variables
        ],
        [_plain(callback) for callback in callbacks],
        [layer.get_config() for layer in _layers(options.augmentation, 5)] if options.augmentation else [],
        None if weights is None else weights.tolist(),
        [layer.dtype_policy.name for layer in model.layers],
    ]


def _plain(callback: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(callback).items() if isinstance(value, int | float | str)}


def fitted(training: dict[str, Any]) -> Any:
    """The weights, and the history, of one training; the same ones are trained once."""
    if repr(training) not in FOUND:
        model = new_model()
        asked = {"epochs": 1, "batch_size": 18, "xla": False, "checkpoint": None, **training}
        rows = {"x": IMAGES}, CLASSES
        history = fit(model, rows, None, asked, task="classification", classes=("no", "yes"), seed=5)
        digest = hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest()
        FOUND[repr(training)] = (digest, history.epochs, history.epsilon)
    return FOUND[repr(training)]


def test_every_option_is_here() -> None:
    assert sorted([*CHANGED, *EXEMPT]) == sorted(leaves(Training))


@pytest.mark.parametrize("option", CHANGED)
def test_it_changes_the_training(option: str) -> None:
    result = fitted if option in FITTED else configured
    before, after = CHANGED[option]
    assert result(before) != result(after)
