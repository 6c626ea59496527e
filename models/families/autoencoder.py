"""The autoencoder family: dense layers down to a few numbers, the code, and the same layers up again.

Source: Hinton, Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006; its error as
the score of an anomaly: Japkowicz, Myers, Gluck, "A Novelty Detection Approach to Classification", IJCAI 1995.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions, mlp
from tidegate.models.families.mlp import Activation, Width
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs

TASKS = ("reconstruction", "anomaly")
SHARE = 4  # numbers of an input for each of its code, where the code's width is not stated


class Options(FamilyOptions):
    """Options of `family: autoencoder`."""

    hidden: tuple[Width, ...] = Field(
        (64,), description="Width of each layer before the code, first to last; behind it they are mirrored."
    )
    code: int | None = Field(
        None,
        ge=1,
        description="Numbers that a row is squeezed into; a quarter of the input's when not given.",
    )
    activation: Activation = Field("relu", description="Activation of each layer but the last.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model that answers its only input; float32 (rows, units) out.

    Raises:
        OptionsError: the input is not of numbers of one shape, or the code is as wide as it.
    """
    import keras

    for kind in ("text", "id", "bag", "prefix", "sequence"):
        inputs.refuse(kind, "autoencoder", "text" if kind == "text" else "mlp")
    numbers = sum(math.prod(spec.shape) for spec in inputs.specs.values())
    code = options.code or max(1, numbers // SHARE)
    if code >= max(2, numbers):
        raise OptionsError(
            f"option 'model.code' is {code}, and a row of {', '.join(inputs.specs)} has {numbers} numbers; expected "
            "fewer, so that the network has to learn what rows have in common; lower it"
        )
    widths = (*options.hidden, code, *options.hidden[::-1])
    layers = mlp.Options.model_validate({"hidden": widths, "activation": options.activation})
    x = mlp.dense_layers(joined(list(inputs.embedded().values())), layers)
    return keras.Model(inputs.tensors, outputs.layer(x), name="autoencoder")
