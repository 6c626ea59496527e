"""K-fold cross-validation: how much a result depends on which rows are held out.

Source: Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions" (1974); stratified by class as in
Kohavi, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection" (1995).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, take
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.preprocessing.forecast.rolling_folds import rolling_folds
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.rules import group_digests
from tidegate.models.preprocessing.splitting.splits import Rows, fold_rows, hold_out
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.weights import weights_of
from tidegate.models.training.checkpoint import CheckpointManager
from tidegate.models.training.recipe import Recipe
from tidegate.models.training.shared_graph import SharedGraph, shared_graph

Keep = Callable[[int], AbstractContextManager[CheckpointManager | None]]
OnFold = Callable[[int, dict[str, float]], None]


def cross_validate(
    recipe: Recipe,
    schema: Schema,
    columns: Columns,
    split: Mapping[str, Any],
    keep: Keep,
    on_fold: OnFold,
) -> Evaluation:
    """Train one model per fold on the rows of all other folds, and return its metrics on its own fold.

    A fold's model is trained like the released one, with transforms fitted on its own training rows. A part of those is
    used for validation, so that the fold itself is unseen.

    Args:
        recipe: how a model is trained.
        schema: of the columns.
        columns: all rows except the test rows.
        split: `folds`, their number; `validation`, the fraction of a training's rows used for validation; `seed`;
            perhaps `group` and `weight`, the columns of the rows' groups and weights; of a forecast `origins`, the step
            of each row's first value to forecast.
        keep: opens the checkpoints of a fold, from 0; they may be None.
        on_fold: called with each fold, from 0, and its metrics.

    Returns:
        `folds_METRIC_mean` and `folds_METRIC_std`, the sample standard deviation (over folds - 1); undefined where the
        metric is in one fold.

    Raises:
        SplitError: there are fewer rows than folds.
        ModelsError: see `Recipe.train`.
    """
    found: list[Evaluation] = []
    shared = shared_graph(recipe)
    for fold, rows in enumerate(_parts_of_folds(schema, columns, split)):
        with keep(fold) as checkpoints:
            values = _fold_metrics(
                recipe,
                schema,
                (take(columns, rows[0]), take(columns, rows[1]), take(columns, rows[2])),
                checkpoints,
                split.get("weight"),
                shared,
            )
        on_fold(fold, values.values)
        found.append(values)
    names = dict.fromkeys(name for one in found for name in (*one.values, *one.undefined))
    return Evaluation.of({key: value for name in names for key, value in _over_folds(name, found).items()})


def _parts_of_folds(schema: Schema, columns: Columns, split: Mapping[str, Any]) -> Iterator[tuple[Rows, ...]]:
    """For each fold the row numbers that a model learns from, validates on, and is measured on."""
    if split.get("origins") is not None:
        (horizon,) = schema.target.shape or (1,)
        yield from rolling_folds(split["origins"], horizon, split["folds"], split["validation"])
        return
    group = split.get("group")
    groups = None if group is None else group_digests(group, columns[group])
    for others, own in fold_rows(schema, columns, split["folds"], split["seed"], groups):
        rest, of_rest = take(columns, others), None if groups is None else groups[others]
        train, validation = hold_out(schema, rest, split["validation"], split["seed"], of_rest)
        yield others[train], others[validation], own


def _over_folds(name: str, found: Sequence[Evaluation]) -> dict[str, float | str]:
    """Mean and deviation of a metric, or in which fold it is undefined."""
    problems = [
        f"in fold {fold}, {one.undefined[name]}" for fold, one in enumerate(found, 1) if name in one.undefined
    ]
    values = [one.values[name] for one in found if name in one.values]
    mean, deviation = (problems[0],) * 2 if problems else (float(np.mean(values)), _deviation(values))
    return {f"folds_{name}_mean": mean, f"folds_{name}_std": deviation}


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _fold_metrics(
    recipe: Recipe,
    schema: Schema,
    parts: tuple[Columns, Columns, Columns],
    checkpoints: CheckpointManager | None,
    weight: str | None,
    shared: SharedGraph | None,
) -> Evaluation:
    """The metrics on the third part of a model trained on the first and validated on the second."""
    from tidegate.models.networks.predict import predict

    transforms = Transforms.fit(schema, parts[0])
    train, validation, own = ((transforms.apply(part), encode_target(schema, part)) for part in parts)
    weights = [None if weight is None else weights_of(weight, part) for part in parts]
    model, _ = recipe.train(
        transforms,
        train,
        validation,
        weights=weights[0],
        validation_weights=weights[1],
        checkpoints=checkpoints,
        shared=shared,
        last_only=shared is not None,
    )
    recipe.calibrate(model, validation)
    return recipe.metrics(predict(model, own[0]), own[1])
