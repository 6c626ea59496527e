"""A target that is the model's input itself, as of an autoencoder: `target: null`."""

from __future__ import annotations

from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.transforms import Transforms

REFUSED = ("text", "id", "bag", "string", "sequence")  # whose numbers are ids, or of a free length


def reconstructed(transforms: Transforms, why: str = "data.target is null") -> Target:
    """The target of a model that answers what it is given; `why` it does, for the message.

    Raises:
        SchemaError: the model gets several inputs, or one that is not of numbers.
    """
    specs = transforms.input_specs
    if len(specs) == 1:
        (spec,) = specs.values()
        if spec.kind not in REFUSED:
            return Target(names=(), task="reconstruction", shape=spec.shape)
    held = ", ".join(f"{name} ({spec.kind})" for name, spec in specs.items())
    raise SchemaError(
        f"{why}, so that the model learns to answer its input, and the model gets {held}; expected one input of "
        "numbers, such as an image, an array or a table's columns; name it in data.inputs, or name a target"
    )
