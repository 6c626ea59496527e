"""Whether a user's model runs as it will at the endpoint: some layers return another size there than in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.errors import UserModelError, one_line
from tidegate.models.networks.layer_values import layer_values
from tidegate.models.networks.predict import predict


def require_answers(model: Any, rows: Mapping[str, np.ndarray], path: Path) -> None:
    """Ask the untrained model once, as it is asked after training.

    Args:
        model: as `build_model` returned it.
        rows: model inputs by name; a few rows are enough.
        path: the user's model file.

    Raises:
        UserModelError: it cannot answer; names the layer whose size differs from the one it was built with.
    """
    try:
        predict(model, rows)
    except Exception as error:
        cause = f"{type(error).__name__}: {one_line(error)[:300]}"
        raise UserModelError(f"{path}: {_other_size(model, rows) or _no_answer(cause)}") from error


def _other_size(model: Any, rows: Mapping[str, np.ndarray]) -> str:
    """The first layer that returns another size than it was built with, in a sentence; "" if there is none."""
    found: list[str] = []

    def see(layer: Any, value: Any) -> None:
        built, now = _shape(layer), tuple(value.shape)
        sizes = zip(built, now, strict=False)
        if built and (len(built) != len(now) or any(a not in (None, b) for a, b in sizes)):
            found.append(
                f"the layer {layer.name!r} ({type(layer).__name__}) returns rows of shape {now[1:]} at inference; "
                f"expected {built[1:]}, for which the layers after it were built, as in training; let what follows "
                "take any size, such as GlobalAveragePooling2D, or use a layer of one size, such as CenterCrop"
            )

    try:
        layer_values(model, rows, see)
    except Exception:  # the error itself is told; this only names the layer
        return next(iter(found), "")
    return next(iter(found), "")


def _shape(layer: Any) -> tuple[Any, ...]:
    """The shape that a layer's only output was built with; () if it has several."""
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError):
        return ()


def _no_answer(cause: str) -> str:
    return (
        f"the untrained model cannot answer a row: {cause}; expected answers to what it was built for; correct the "
        "layers that do something else at inference than in training"
    )
