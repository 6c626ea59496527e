"""`training.function`: the user's own loop, `train(trial) -> keras.Model`.

It gets what our loops get, and reports as they do; what it returns is evaluated, exported and served like any model.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.errors import OptionsError, StoppedError, UserCodeError
from tidegate.models.training.epoch_loop import Hooks
from tidegate.models.training.own.own_trial import SPLITS, OwnTrial, Rows
from tidegate.models.user_code.own_classes import make_loadable
from tidegate.models.user_code.project import project_modules
from tidegate.models.user_code.references import load_reference, user_code


def train_by_function(
    recipe: Any,
    transforms: Any,
    train: Any,
    validation: Rows,
    *,
    hooks: Hooks,
    medians: Sequence[float | None],
    weights: tuple[Any, Any] = (None, None),
) -> tuple[Any, OwnTrial]:
    """Call the user's `train`, and return its model, with the inputs' names, and what it reported.

    Args:
        recipe: the `Recipe`.
        transforms: of the model inputs.
        train, validation: model inputs by name and the encoded target.
        hooks: progress and checkpoints.
        medians: see `training.fit.fit`.
        weights: of the rows of both, where `data.weight` is given.

    Raises:
        OptionsError: the rows are streamed, or several processes train.
        UserCodeError: `train` raises, or returns something else than a model that fits the data.
    """
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.determinism import make_deterministic
    from tidegate.models.networks.user_models.user_model import adopt_model

    reference, training = recipe.training["function"], recipe.training
    if not isinstance(train, tuple) or hooks.group is not None:
        what = "the data is streamed" if hooks.group is None else "resources.nodes is more than 1"
        raise OptionsError(
            f"option 'training.function' is given and {what}; expected rows in memory and one process; set "
            "data.stream: false and resources.memory for all rows, and resources.nodes: 1"
        )
    function = load_reference(reference, "training.function")
    make_loadable(*project_modules())
    _require_one_argument(function, reference)
    make_deterministic(recipe.seed)
    trial = OwnTrial(
        recipe.schema,
        transforms.input_specs,
        recipe.asked,
        dict(training["options"] or {}),
        training,
        recipe.seed,
        {"train": train, "validation": validation},
        dict(zip(SPLITS, weights, strict=True)),
        recipe.columns,
        hooks,
        medians,
        lambda: build_model(recipe.model, transforms.input_specs, recipe.asked, recipe.seed),
        lambda name: higher_is_better(name, training["metrics"]),
    )
    hooks.on_loop(f"trained by {reference} (training.function)")
    stopped: StoppedError | None = None
    with user_code(f"training.function: calling {reference}"):
        try:
            model = function(trial)
        except StoppedError as error:
            stopped = error  # no fault of the user's
    if stopped is not None:
        raise stopped
    if not trial.epoch:
        raise UserCodeError(
            f"training.function: {reference} reported nothing; expected trial.report(epoch, loss=...) after each epoch"
        )
    return adopt_model(model, transforms.input_specs, recipe.asked, f"training.function: {reference}"), trial


def _require_one_argument(function: Any, reference: str) -> None:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        raise UserCodeError(
            f"training.function: {reference} is {type(function).__name__}, called with (trial): {error}; expected "
            "def train(trial): ... return model"
        ) from error
