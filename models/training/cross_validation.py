"""How much a result owes to which rows were held out: k-fold cross-validation.

Source: Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions" (1974); stratified by class as in
Kohavi, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection" (1995).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, take
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splits import fold_rows, hold_out
from tidegate.models.preprocessing.transforms import Transforms, encode_target
from tidegate.models.training.checkpoint import CheckpointManager
from tidegate.models.training.recipe import Recipe

Keep = Callable[[int], AbstractContextManager[CheckpointManager | None]]
OnFold = Callable[[int, dict[str, float]], None]


def cross_validate(
    recipe: Recipe,
    schema: Schema,
    columns: Columns,
    split: Mapping[str, Any],
    keep: Keep,
    on_fold: OnFold,
) -> dict[str, float]:
    """Train a model a fold, each on the rows of all others, and return how well they do on their own fold.

    A fold's model is made as the released one is, from transforms fitted on its own training rows; as many of those as
    the experiment says steer it, so that nothing of what it is judged by was seen before.

    Args:
        recipe: how a model is made.
        schema: of the columns.
        columns: all rows but the test rows.
        split: `folds`, how many; `validation`, the part of a training's rows that steers it; `seed`.
        keep: who keeps the checkpoints of a fold, from 0; None: nobody does.
        on_fold: told each fold, from 0, and its metrics.

    Returns:
        `folds_METRIC_mean` and `folds_METRIC_std`, the standard deviation being the sample's (over folds - 1).

    Raises:
        SplitError: there are fewer rows than folds.
        ModelsError: see `Recipe.train`.
    """
    found: list[dict[str, float]] = []
    for fold, (others, own) in enumerate(fold_rows(schema, columns, split["folds"], split["seed"])):
        rest = take(columns, others)
        learned, steering = (
            take(rest, rows) for rows in hold_out(schema, rest, split["validation"], split["seed"])
        )
        with keep(fold) as checkpoints:
            values = _judged(recipe, schema, (learned, steering, take(columns, own)), checkpoints)
        on_fold(fold, values)
        found.append(values)
    return {
        f"folds_{name}_{word}": float(of([values[name] for values in found]))
        for name in found[0]
        for word, of in (("mean", np.mean), ("std", _deviation))
    }


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1))


def _judged(
    recipe: Recipe,
    schema: Schema,
    parts: tuple[Columns, Columns, Columns],
    checkpoints: CheckpointManager | None,
) -> dict[str, float]:
    """The metrics of the last part's rows, by a model of the first's that the second's steer."""
    from tidegate.models.networks.predict import predict

    transforms = Transforms.fit(schema, parts[0])
    train, validation, own = ((transforms.apply(part), encode_target(schema, part)) for part in parts)
    model, _ = recipe.train(transforms, train, validation, checkpoints=checkpoints)
    recipe.calibrate(model, validation)
    return recipe.metrics(predict(model, own[0]), own[1])
