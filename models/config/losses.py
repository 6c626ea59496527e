"""Losses, and the target encoding that each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError
from tidegate.models.user_code.references import is_reference

if TYPE_CHECKING:  # `plan` checks a loss by name, and loads no NumPy for it
    import numpy as np

Target = Literal["index", "one_hot", "probability", "number", "tokens", "boxes", "labels"]

CLASSIFICATION: dict[str, Target] = {
    "sparse_categorical_crossentropy": "index",
    "categorical_crossentropy": "one_hot",
    "categorical_focal_crossentropy": "one_hot",
    "categorical_hinge": "one_hot",
    "kl_divergence": "one_hot",
    "binary_crossentropy": "probability",
    "binary_focal_crossentropy": "probability",
}
REGRESSION: dict[str, Target] = dict.fromkeys(
    (
        "mean_squared_error",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_logarithmic_error",
        "huber",
        "log_cosh",
        "poisson",
    ),
    "number",
)
MULTILABEL: dict[str, Target] = dict.fromkeys(("binary_crossentropy", "binary_focal_crossentropy"), "labels")
# Of a class at each place, and of an array of numbers: `dense_task`.
SEGMENTATION: dict[str, Target] = {
    "sparse_categorical_crossentropy": "index",
    **dict.fromkeys(
        ("categorical_crossentropy", "categorical_focal_crossentropy", "dice", "tversky"), "one_hot"
    ),
    **dict.fromkeys(("binary_crossentropy", "binary_focal_crossentropy"), "probability"),
}
ARRAYS: dict[str, Target] = REGRESSION | dict.fromkeys(("binary_crossentropy", "cosine_similarity"), "number")
FORECASTING: dict[str, Target] = {"pinball": "number"}
IGNORED = -1  # class of a pixel without one
# Losses of a segmentation that are one number a pixel, which may be weighted.
OF_PIXELS = tuple(name for name in SEGMENTATION if name.endswith("_crossentropy"))
IGNORED_TOKEN = -1  # label of the steps after the end of a text; the loss ignores it
TAGGING: dict[str, Target] = {"sparse_categorical_crossentropy": "index"}
GENERATION: dict[str, Target] = {"sparse_categorical_crossentropy": "tokens"}
DETECTION: dict[str, Target] = {"multibox": "boxes"}
# How a loss of the user's takes the target: classes as one probability of two, or one number a class.
OWN_TARGET: dict[str, Target] = {
    "regression": "number",
    "arrays": "number",
    "generation": "tokens",
    "detection": "boxes",
    "multilabel": "labels",
    "segmentation": "index",
    "tagging": "index",
    "forecasting": "number",
}
CLASS_TARGETS: tuple[Target, ...] = ("probability", "one_hot", "index")
# By the target's kind.
TASK_OF_KIND = {
    "text": "generation",
    "boxes": "detection",
    "labels": "multilabel",
    "tags": "tagging",
    "mask": "segmentation",
}
LOSSES_BY_TASK = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "generation": GENERATION,
    "detection": DETECTION,
    "multilabel": MULTILABEL,
    "segmentation": SEGMENTATION,
    "tagging": TAGGING,
    "arrays": ARRAYS,
    "reconstruction": ARRAYS,
    "forecasting": FORECASTING,
    "anomaly": ARRAYS,
}
ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}


@dataclass(frozen=True)
class Loss:
    """A loss by name or reference, its keyword arguments, and the target encoding it needs.

    `logits`: whether it is computed of logits, which the user's model ends with. The network gets the activation that
    makes them probabilities, and Keras computes the loss from what stands before it.
    """

    name: str
    options: dict[str, Any]
    target: Target
    logits: bool = False


def loss_named(loss: str | Mapping[str, Any] | None, task: str, classes: int) -> Loss:
    """Return the loss for a name or reference, for {name, ...options}, or the task's default for None.

    Raises:
        OptionsError: the loss is unknown, or does not fit the task or the number of classes.
    """
    if task == "multioutput":
        raise OptionsError(
            f"loss {loss!r} is one for all, and the model has several outputs; expected a loss by output, as in "
            "data.target: {NAME: {loss: ...}}; leave training.loss out"
        )
    table = LOSSES_BY_TASK[task]
    others = {known for other in LOSSES_BY_TASK.values() for known in other} - set(table)
    options: dict[str, Any] = dict(loss) if isinstance(loss, Mapping) else {"name": loss or next(iter(table))}
    name = str(options.pop("name", ""))
    name = ALIASES.get(name, name)
    if is_reference(name):
        return _own_loss(name, options, task, classes)
    if name in others:
        raise OptionsError(
            f"loss {name!r} does not fit a {task}; expected one of: {', '.join(table)}; choose one of them"
        )
    if name not in table:
        raise OptionsError(f"unknown loss {name!r} for a {task}{did_you_mean(name, table)}")
    if table[name] == "probability" and classes != 2:
        raise OptionsError(
            f"loss {name!r} needs 2 classes and the target has {classes}; expected a loss for any number of "
            f"classes; use {next(iter(table))}"
        )
    if task in ("generation", "tagging"):
        options["ignore_class"] = IGNORED_TOKEN
    logits = options.pop("from_logits", False) if name.endswith("_crossentropy") else False
    if not isinstance(logits, bool):
        raise OptionsError(
            f"option 'from_logits' of loss {name!r} is {logits!r}; expected true or false; correct it"
        )
    return Loss(name, options, table[name], logits)


def _own_loss(name: str, options: dict[str, Any], task: str, classes: int) -> Loss:
    """A loss of the user's; `target` in its options says how it takes the classes."""
    usual = OWN_TARGET.get(task) or ("probability" if classes == 2 else "one_hot")
    allowed: tuple[Target, ...] = CLASS_TARGETS if task in ("classification", "segmentation") else (usual,)
    target = options.pop("target", usual)
    if target not in allowed or (target == "probability" and classes != 2):
        fitting = [one for one in allowed if classes == 2 or one != "probability"]
        raise OptionsError(
            f"option 'target' of loss {name!r} is {target!r}, and this is a {task}"
            f"{f' of {classes} classes' if task == 'classification' else ''}; expected one of: {', '.join(fitting)}; "
            "choose one, or leave it out"
        )
    logits = options.pop("from_logits", False)
    if not isinstance(logits, bool) or (logits and task != "classification"):
        raise OptionsError(
            f"option 'from_logits' of loss {name!r} is {logits!r}, and this is a {task}; expected true or false of a "
            "classification; correct it"
        )
    return Loss(name, options, target, logits)


def with_ignored(loss: Loss, smoothing: float = 0.0) -> Loss:
    """Return the loss of a segmentation that leaves out pixels without a class, whose index is IGNORED.

    Args:
        loss: as it is learned from, see `with_label_smoothing`.
        smoothing: `training.label_smoothing`.

    Raises:
        OptionsError: the loss takes no indices.
    """
    if smoothing:
        raise OptionsError(
            f"option 'training.label_smoothing' is {smoothing}, for which a loss counts all pixels, and data.target "
            "ignores some; expected one of the two; leave one out"
        )
    if loss.target != "index":
        raise OptionsError(
            f"loss {loss.name!r} counts all pixels, and data.target ignores some; expected one that takes class "
            "numbers, of which -1 is none; use sparse_categorical_crossentropy, or leave ignore out"
        )
    return (
        loss if is_reference(loss.name) else replace(loss, options={**loss.options, "ignore_class": IGNORED})
    )


def require_value_a_pixel(loss: Loss, classes: bool, rows: bool) -> None:
    """Refuse weights of classes or rows beside a loss of a segmentation that is not one number a pixel.

    Args:
        loss: what they weigh.
        classes: whether there are `training.class_weights`.
        rows: whether there is a `data.weight`.
    """
    if (classes or rows) and loss.name not in OF_PIXELS:
        given = "training.class_weights" if classes else "data.weight"
        raise OptionsError(
            f"option {given!r} is given and the loss is {loss.name!r}, which is not one number a pixel; expected one "
            f"of: {', '.join(OF_PIXELS)}; use one of them, or leave the weights out"
        )


def dense_task(task: str, shape: tuple[int, ...] | None) -> str:
    """The key of LOSSES_BY_TASK: a regression of arrays may compare numbers from 0 to 1 as probabilities, too."""
    return "arrays" if task in ("regression", "reconstruction", "anomaly") and shape is not None else task


def with_label_smoothing(loss: Loss, part: float) -> Loss:
    """Return the loss with label smoothing: `part` of each target is spread evenly over all classes.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.

    Raises:
        OptionsError: the loss does not compare probabilities, or has a smoothing of its own.
    """
    if not part:
        return loss
    if loss.name == "sparse_categorical_crossentropy":
        loss = replace(loss, name="categorical_crossentropy", target="one_hot")
    if not loss.name.endswith("_crossentropy") or "label_smoothing" in loss.options:
        known = ", ".join(name for name in CLASSIFICATION if name.endswith("_crossentropy"))
        raise OptionsError(
            f"option 'training.label_smoothing' is {part} and the loss is {loss.name!r} with "
            f"{loss.options or 'no options'}; expected one of: {known}, with no smoothing of its own; leave one of the "
            "two out"
        )
    return replace(loss, options={**loss.options, "label_smoothing": part})


def task_of(loss: str | Mapping[str, Any] | None) -> str | None:
    """Return the task a loss is for; None if no loss is given or the name is unknown."""
    name = str(loss.get("name", "")) if isinstance(loss, Mapping) else loss or ""
    name = ALIASES.get(name, name)
    # generation uses a classification loss
    tasks = ("classification", "regression", "detection", "forecasting", "segmentation")
    return next((task for task in tasks if name in LOSSES_BY_TASK[task]), None)


def check_loss(loss: str | Mapping[str, Any] | None, task: str | None) -> None:
    """Refuse an unknown loss, or one of another task, before any data is read.

    Args:
        loss: the experiment's `training.loss`.
        task: the experiment's `data.task`; None if it is inferred from the data.

    Raises:
        OptionsError: names the nearest loss.
    """
    if loss is None:
        return
    name = loss.get("name") if isinstance(loss, Mapping) else loss
    known = {one for table in LOSSES_BY_TASK.values() for one in table}
    if ALIASES.get(str(name), name) not in known and not is_reference(name):
        raise OptionsError(
            f"unknown loss {name!r}; one of your own has its module before it, as in my_losses:{name}"
            f"{did_you_mean(name, [*CLASSIFICATION, *REGRESSION, *DETECTION, *FORECASTING, *SEGMENTATION, *ALIASES])}"
        )
    if task is not None:
        loss_named(loss, task, classes=2)


def check_smoothing(part: float, loss: str | Mapping[str, Any] | None, task: str | None) -> None:
    """Refuse label smoothing without classes, before any data is read; see `with_label_smoothing`."""
    if part:
        with_label_smoothing(loss_named(loss, task or task_of(loss) or "classification", classes=2), part)


def encode_target(target: Target, y: np.ndarray, classes: int) -> np.ndarray:
    """Return the target as the loss needs it.

    Args:
        target: the encoding.
        y: int64 class indices (rows,) or (rows, *shape), tokens (rows, steps), or float32
            numbers (rows,), (rows, values) or (rows, *shape), or boxes as `preprocessing.target.box_target` has them.
        classes: number of classes.

    Returns:
        "index": int32 (rows,); "one_hot": float32 (rows, classes); "probability": float32 (rows, 1); "tokens": int32
        (rows, steps); arrays of more dimensions unchanged, float32; else float32 (rows, values), as 0 and 1 of
        "labels". With classes at places, these stand before the last size.
    """
    import numpy as np

    if target in ("index", "tokens"):
        return y.astype(np.int32)
    if target == "one_hot":
        return np.asarray(np.eye(classes, dtype=np.float32)[y])
    if target == "probability":
        return y.astype(np.float32)[..., None]
    return y.astype(np.float32) if y.ndim > 2 else y.astype(np.float32).reshape(len(y), -1)
