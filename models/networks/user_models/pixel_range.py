"""Whether a user's model expects pixels of 0 to 255 where it gets 0 to 1: found out on the untrained one.

Image examples begin with `Rescaling(1/255)`, with a division, or with `preprocess_input` of a known network. On pixels
that are 0 to 1 already these leave next to nothing to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.models.errors import UserModelError
from tidegate.models.networks.layer_values import LayerValue, layer_values

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import InputSpec

LEAST = 0.05  # between an image and its negative; Rescaling(1/255) leaves 0.004
FARTHEST = 20.0  # from zero, in such distances; subtracting the means of 0 to 255 leaves 100


def require_pixels_in_range(model: Any, specs: Mapping[str, InputSpec], path: Path) -> None:
    """Show the untrained model an image and its negative, and look at what its first layers with weights receive.

    The image is noise from 0 to 1: of a black one nothing is left where each image is standardised by itself.

    Args:
        model: as `build_model` returned it.
        specs: of its inputs.
        path: the user's model file.

    Raises:
        UserModelError: the two are hardly different there; says what to do.
    """
    images = [name for name, spec in specs.items() if spec.kind == "image" and not spec.raw]
    if not images:
        return
    noise = np.random.default_rng(0)
    rows = {name: np.zeros((2, *spec.shape), spec.dtype) for name, spec in specs.items()}
    for name in images:
        drawn = noise.random(specs[name].shape, np.float32)
        rows[name] = np.stack([drawn, 1 - drawn])
    for layer, seen in _first_seen(layer_values(model, rows)):
        span = float(np.abs(seen[1] - seen[0]).max())
        if 0 < span < LEAST or float(np.abs(seen).max()) > FARTHEST * span > 0:
            raise UserModelError(
                f"{path}: the layer {layer.name!r} ({type(layer).__name__}) gets {seen.min():.3g} to {seen.max():.3g} "
                f"for pixels from 0 to 1; expected a range near those: the pixels of {', '.join(images)} are 0 to 1 "
                "already, and the layers before it, such as Rescaling(1/255), expect 0 to 255; take these layers "
                f"out, or let data.inputs have {{name: {images[0]}, scale: none}}, which gives the stored pixels"
            )


def _first_seen(calls: list[LayerValue]) -> list[tuple[Any, np.ndarray]]:
    """Each layer with weights that receives what layers without weights made of the inputs; and what it receives."""
    import keras

    plain: set[int] = set()
    found = []
    for place, call in enumerate(calls):
        if not all(parent in plain for parent in call.parents):
            continue
        if not getattr(call.layer, "weights", ()):
            plain.add(place)
            continue
        for parent in call.parents:
            value = np.asarray(keras.ops.convert_to_numpy(calls[parent].value), np.float64)
            if len(value) == 2:
                found.append((call.layer, value))
    return found
