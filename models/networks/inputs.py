"""The inputs that a model is built on: the first argument of a family's and a user's `build`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from tidegate.models.errors import OptionsError

# Numbers of an id's vector, as in Howard, Gugger, "fastai: A Layered API for Deep Learning", Information 11, 2020, for
# categories: 1.6 times the number of ids to the power of 0.56, with a limit.
WIDEST = 50

if TYPE_CHECKING:  # `plan` imports this to check a family's options, and must not load NumPy
    import numpy as np

    from tidegate.models.preprocessing.transforms import InputSpec


OF_IDS = ("text", "id", "bag")  # kinds of inputs that are ids, which a model embeds


class Inputs:
    """The model inputs by name, as `keras.Input` tensors, and what each of them is.

    A user's `build` receives them as `networks.user_models.model_inputs.ModelInputs`. A text's or an id's tensor has an
    attribute `vocabulary`, the number of ids, which an Embedding layer needs: `inputs["review"].vocabulary`.

    Args:
        specs: shape of a row, dtype, kind and vocabulary by input name.
    """

    def __init__(self, specs: Mapping[str, InputSpec]) -> None:
        import keras

        self.specs = dict(specs)
        self.tensors: dict[str, Any] = {}
        for name, spec in self.specs.items():
            shape = (None,) if spec.kind == "prefix" else spec.shape  # a prefix grows while a text is decoded
            self.tensors[name] = keras.Input(shape, dtype=spec.dtype, name=name)
            if spec.kind in (*OF_IDS, "prefix"):
                self.tensors[name].vocabulary = spec.vocabulary

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Return the inputs of one kind, as "image"."""
        return {name: tensor for name, tensor in self.tensors.items() if self.specs[name].kind == kind}

    def without(self, kind: str) -> list[Any]:
        """Return the inputs of every other kind, ids embedded."""
        return [tensor for name, tensor in self.embedded().items() if self.specs[name].kind != kind]

    def embedded(self) -> dict[str, Any]:
        """Return all inputs, each id as a vector that is learned; zeros for a single id that is not known.

        Of a bag it is the mean of the vectors of its known ids, zeros where there are none.
        """
        return {
            name: EMBEDDED[self.specs[name].kind](name, tensor, self.specs[name].vocabulary)
            if self.specs[name].kind in EMBEDDED
            else tensor
            for name, tensor in self.tensors.items()
        }

    def refuse(self, kind: str, family: str, instead: str) -> None:
        """Raise OptionsError where an input is of a kind that `family` cannot take."""
        for name in self.of_kind(kind):
            raise OptionsError(
                f"family {family!r} cannot take input {name!r}, which is {kind}; expected another kind; use family "
                f"{instead!r}, or leave {name!r} out of data.inputs"
            )

    def refuse_beside(self, kept: Collection[str], family: str, instead: str) -> None:
        """Raise OptionsError where a model that writes texts has an input beside the text of these kinds."""
        for kind in ("numeric", "image", "text", "sequence", "id", "bag"):
            if kind not in kept:
                self.refuse(kind, family, instead)

    def require_alone(self, name: str, family: str) -> None:
        """Raise OptionsError where there are other inputs than the one that is labelled token by token."""
        others = [other for other in self.specs if other != name]
        if others:
            raise OptionsError(
                f"family {family!r} labels the tokens of {name!r}, and there are the inputs {', '.join(others)}; "
                f"expected these tokens alone; leave the others out of data.inputs, or write a model of your own"
            )

    def require(self, kind: str, family: str) -> dict[str, Any]:
        """Return the inputs of the kind that a family needs; OptionsError if there is none."""
        found = self.of_kind(kind)
        if not found:
            have = ", ".join(f"{name} ({spec.kind}, {spec.shape})" for name, spec in self.specs.items())
            raise OptionsError(
                f"family {family!r} has the inputs {have}; expected one of kind {kind}; use family 'mlp', or "
                f"set {{name: ..., kind: {kind}}} in data.inputs"
            )
        return found


def _vectors(name: str, ids: Any, vocabulary: int) -> Any:
    from keras import layers

    width = min(WIDEST, math.ceil(1.6 * vocabulary**0.56))
    return layers.Embedding(vocabulary, width, name=f"embedding_of_{name}")(ids)


def _bag(name: str, ids: Any, vocabulary: int) -> Any:
    """The mean vector `(rows, width)` of the known ids in `(rows, k)`; 0 is padding and 1 one that is not known."""
    from keras import layers, ops

    vectors = _vectors(name, ids, vocabulary)
    known = ops.expand_dims(ops.cast(ops.greater(ids, 1), vectors.dtype), -1)
    count = ops.maximum(ops.sum(known, axis=1), 1)
    return ops.divide(ops.sum(layers.Multiply()([vectors, known]), axis=1), count)


def _embedded(name: str, ids: Any, vocabulary: int) -> Any:
    """Ids `(rows, k)` as float32 `(rows, k, width)`."""
    from keras import layers, ops

    vectors = _vectors(name, ids, vocabulary)
    if ids.shape[1] > 1:
        return vectors
    known = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), vectors.dtype), -1)
    return layers.Multiply()([vectors, known])


EMBEDDED = {"id": _embedded, "bag": _bag}  # by kind of input


def joined(parts: list[Any]) -> Any:
    """Return all features as one tensor (rows, features), flattened in order."""
    import keras

    flat = [part if len(part.shape) == 2 else keras.layers.Flatten()(part) for part in parts]
    return flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)


def inputs_of(model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the inputs that `model` has; a user's model need not use all."""
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}
