"""Trainings that share a compiled model give the same bits as trainings that each build their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.models.training.test_generalisation import rows_of_classes
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.data.columns import take
from tidegate.models.errors import NonFiniteLossError
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.training.recipe import Recipe, Rows
from tidegate.models.training.shared_graph import SharedGraph, shared_graph

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras

SCHEDULED: dict[str, Any] = {
    "early_stopping": {"patience": 1},
    "learning_rate_schedule": {"name": "reduce_on_plateau", "patience": 1},
    "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    "class_weights": "balanced",
    "regularization": {"l2": 0.01},
}
COSINE: dict[str, Any] = {"learning_rate_schedule": {"name": "cosine"}, "label_smoothing": 0.1}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"family": "mlp", "hidden": [8], "dropout": 0.4},
    "linear": {"family": "linear"},
}


SCHEMA, COLUMNS = rows_of_classes(["a", "b", "c"] * 14)
TRANSFORMS = Transforms.fit(SCHEMA, COLUMNS)


def rows_of(count: int, seed: int) -> Rows:
    """Some rows, as the model sees them."""
    chosen = np.random.default_rng(seed).permutation(42)[:count]
    columns = take(COLUMNS, chosen)
    return TRANSFORMS.apply(columns), encode_target(SCHEMA, columns)


def trained(recipe: Recipe, shared: SharedGraph | None) -> list[Any]:
    """Weights and history of three trainings, on 37, 38 and (a whole number of batches) 40 rows."""
    results: list[Any] = []
    for count in (37, 38, 40):
        model, history = recipe.train(
            TRANSFORMS, rows_of(count, count), rows_of(count // 4, 0), shared=shared
        )
        results += [*model.get_weights(), np.array([list(epoch.values()) for epoch in history.epochs])]
        recipe.calibrate(model, rows_of(20, 1))
    return results


@pytest.mark.parametrize(("name", "options"), [("mlp", SCHEDULED), ("mlp", COSINE), ("linear", {})])
def test_the_bits_are_those_of_a_model_of_its_own(name: str, options: dict[str, Any]) -> None:
    asked = {"epochs": 4, "batch_size": 8, "calibration": "temperature", **options}
    training = parse_options(Training, asked, "training").model_dump(mode="json")
    recipe = Recipe(MODELS[name], training, SCHEMA.target, 3)
    shared = shared_graph(recipe)
    assert shared is not None
    ours, own = trained(recipe, shared), trained(recipe, None)
    assert len(ours) == len(own)
    for one, other in zip(ours, own, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [COSINE, {"class_weights": "balanced"}, SCHEDULED])
def test_epochs_that_nobody_asks_for_may_be_one_call(options: dict[str, Any]) -> None:
    """The weights, and the last epoch's values, are those of one call an epoch; callbacks see each epoch."""
    training = parse_options(Training, {"epochs": 12, "batch_size": 8, **options}, "training")
    recipe = Recipe(MODELS["mlp"], training.model_dump(mode="json"), SCHEMA.target, 3)
    shared = shared_graph(recipe)
    for count in (37, 38, 40):
        rows, others = rows_of(count, count), rows_of(9, 0)
        expected, course = recipe.train(TRANSFORMS, rows, others)
        found, history = recipe.train(TRANSFORMS, rows, others, shared=shared, last_only=True)
        for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert history.epochs[-1] == course.epochs[-1]
        assert len(history.epochs) == (len(course.epochs) if options is SCHEDULED else 1)


def test_a_loss_that_is_not_finite_is_found_in_its_epoch() -> None:
    options = {"epochs": 12, "batch_size": 8, "optimizer": {"name": "sgd", "learning_rate": 1e18}}
    training = parse_options(Training, options, "training").model_dump(mode="json")
    recipe = Recipe(
        {"family": "linear"}, {**training, "regularization": {"l1": 0.0, "l2": 1.0}}, SCHEMA.target, 3
    )
    told = []
    for last_only in (False, True):
        with pytest.raises(NonFiniteLossError) as raised:
            recipe.train(TRANSFORMS, rows_of(37, 1), rows_of(0, 0), last_only=last_only)
        told.append(str(raised.value))
    assert told[0] == told[1]
    assert "in epoch 1, batch" in told[0] or "in epoch 2, batch" in told[0]


def test_other_inputs_or_batches_get_another_model() -> None:
    training = parse_options(Training, {"epochs": 1, "batch_size": 8}, "training").model_dump(mode="json")
    recipe = Recipe(MODELS["linear"], training, SCHEMA.target, 3)
    shared = shared_graph(recipe)
    models = [
        recipe.train(TRANSFORMS, rows_of(count, 1), rows_of(9, 2), shared=shared)[0] for count in (33, 37, 41)
    ]
    assert models[0] is models[1]
    assert models[1] is not models[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "jax"},
        {"precision": "mixed_bfloat16"},
        {"loss": "my_losses:focal"},
        {"callbacks": ["my_callbacks:Swa"]},
        {"metrics": ["my_metrics:lift"]},
        {"privacy": {"clip_norm": 1.0}},
    ],
)
def test_what_may_leave_something_behind_is_not_shared(changes: dict[str, Any]) -> None:
    training = parse_options(Training, changes, "training").model_dump(mode="json")
    assert shared_graph(Recipe(MODELS["mlp"], training, SCHEMA.target, 3)) is None
    assert (
        shared_graph(Recipe({"file": "my_model.py"}, {**training, "backend": "tensorflow"}, SCHEMA.target, 3))
        is None
    )
