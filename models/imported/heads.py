"""What the outputs of a trained model are, by their width and the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.models.config.losses import loss_named
from tidegate.models.errors import OptionsError
from tidegate.models.networks.outputs import Outputs, outputs_for
from tidegate.models.preprocessing.schema import Class, Schema, Target


def loss_of(units: int, target: Target, stated: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The loss whose outputs are as wide as the model's, as `training.loss` would name it.

    Args:
        units: numbers that the model answers for a row.
        target: with the model's classes.
        stated: the experiment's `training.loss`: `from_logits` says that a classifier answers logits.

    Raises:
        OptionsError: the model answers another number of values.
    """
    chosen = loss_named(stated, target.task, len(target.classes))
    if target.task == "regression":
        expected, kind = len(target.names), chosen.name
    elif units == 1 and len(target.classes) == 2:
        expected, kind = 1, "binary_crossentropy"
    else:
        expected, kind = len(target.classes), "sparse_categorical_crossentropy"
    if units != expected:
        what = f"the {expected} classes {_shown(target.classes)}" if target.classes else f"{expected} numbers"
        raise OptionsError(
            f"the model answers {units} numbers for a row, and {', '.join(target.names)} needs {what}; expected as "
            "many; name the column that the model predicts, or with model.classes all classes in the model's order"
        )
    return {"name": kind, **({"from_logits": True} if chosen.logits else {})}


def head_of(target: Target, loss: dict[str, Any]) -> Outputs:
    """The outputs of a model with this loss."""
    return outputs_for(target.task, len(target.classes), len(target.names), loss)


def with_classes(
    schema: Schema, stated: list[Class] | None, own: tuple[Class, ...]
) -> tuple[Schema, list[str]]:
    """The schema with the classes in the order of the model's outputs, and a sentence on where that is from.

    Args:
        schema: of the data, whose classes are sorted.
        stated: `model.classes`.
        own: what the model's file says; () if it says nothing.

    Raises:
        OptionsError: the data has a class that the model does not have.
    """
    target = schema.target
    if target.task != "classification":
        return schema, []
    asked = tuple(stated or own)
    if not asked:
        told = f"the model's outputs were taken for the classes in sorted order: {_shown(target.classes)}"
        return schema, [f"{told}; if their order is another one, state it as model.classes"]
    known = {str(one): one for one in target.classes}
    order = tuple(known.get(str(one), one) for one in asked)
    lacking = [one for one in target.classes if str(one) not in {str(name) for name in asked}]
    if lacking or len(set(map(str, asked))) < len(asked):
        source = "model.classes has" if stated else "the model's file has"
        raise OptionsError(
            f"{source} the classes {_shown(asked)}, and the data has {_shown(target.classes)}; expected each class of "
            "the data once; correct the order, or the target"
        )
    return schema.model_copy(update={"target": target.model_copy(update={"classes": order})}), []


def _shown(classes: tuple[Class, ...]) -> str:
    few = ", ".join(map(str, classes[:8]))
    return few + (f" and {len(classes) - 8} more" if len(classes) > 8 else "")
