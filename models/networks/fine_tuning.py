"""Begin with the weights of an earlier run, and keep some of its layers as they are.

Source: Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?" (2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError


@dataclass(frozen=True)
class WarmStart:
    """What a training begins with.

    Attributes:
        run: the earlier run's id.
        keras: its winner's model, a .keras file whose digest was checked.
        transforms: what made the inputs it learned from, see `Transforms.to_dict`.
        freeze: patterns of the names of layers that stay as they are, such as conv2d*.
        code: the user's model file, whose layers the model may be made of.
    """

    run: str
    keras: Path
    transforms: Mapping[str, Any]
    freeze: Sequence[str] = ()
    code: Path | None = None


def warm_start(model: Any, start: WarmStart, transforms: Mapping[str, Any]) -> list[str]:
    """Give an untrained model the earlier weights, freeze what is to stay, and return the names of what is frozen.

    Layers with weights are paired in their order. The last one begins anew where its shape is another, as with other
    classes; it can be frozen otherwise only.

    Args:
        model: from `build_model`; changed in place.
        start: see there.
        transforms: what makes the inputs of `model`.

    Raises:
        OptionsError: layers do not fit, words or features mean something else, or a pattern is no layer's.
    """
    import keras

    from tidegate.models.networks.user_model import custom_objects

    _require_same_meaning(start, transforms)
    own = custom_objects(start.code) if start.code else {}
    earlier = keras.models.load_model(start.keras, custom_objects=own, compile=False)
    ours, theirs = ([layer for layer in one.layers if layer.weights] for one in (model, earlier))
    if len(ours) != len(theirs):
        raise _unfit(
            start, ours, theirs, f"it has {len(theirs)} layers with weights and this model {len(ours)}"
        )
    wrong = [
        f"{one.name!r} has {_shapes(one)}, expected {_shapes(other)} as here"
        for one, other in zip(theirs[:-1], ours[:-1], strict=True)
        if _shapes(one) != _shapes(other)
    ]
    if wrong:
        raise _unfit(start, ours, theirs, "; ".join(wrong))
    pairs = [(one, other) for one, other in zip(theirs, ours, strict=True) if _shapes(one) == _shapes(other)]
    for one, other in pairs:
        other.set_weights(one.get_weights())
    layers = {one.name: other for one, other in pairs}
    frozen = _freeze(start, layers)
    if not model.trainable_variables:
        raise OptionsError(
            f"Option 'model.freeze' is {list(start.freeze)}, which leaves nothing to learn. Name fewer layers of: "
            f"{', '.join(layers)}."
        )
    return frozen


def _freeze(start: WarmStart, layers: dict[str, Any]) -> list[str]:
    """Patterns are held against the names in the earlier model, which are the same in every process."""
    frozen: list[str] = []
    for pattern in start.freeze:
        found = [name for name in layers if fnmatch(name, pattern)]
        if not found:
            raise OptionsError(
                f"Option 'model.freeze' has {pattern!r}, which is no layer that run {start.run} hands on."
                f"{did_you_mean(pattern, layers)}"
            )
        frozen += found
    for name in frozen:
        layers[name].trainable = False
    return sorted(set(frozen))


def _require_same_meaning(start: WarmStart, transforms: Mapping[str, Any]) -> None:
    """A word's number, or a feature's place, must be what it was when the weights were learned."""
    earlier = {entry["name"]: entry for entry in start.transforms["inputs"]}
    for entry in transforms["inputs"]:
        name, before = entry["name"], earlier.get(entry["name"])
        if before is None or before["encoder"] != entry["encoder"]:
            raise OptionsError(
                f"Option 'model.from' is run {start.run}, whose inputs are {', '.join(earlier)}; input {name!r} "
                f"({entry['encoder']}) is none of them. Expected the same inputs. Change data.inputs, or leave 'from' "
                "out."
            )
        for key in ("words", "names", "categories"):
            if before["content"].get(key) != entry["content"].get(key):
                raise OptionsError(
                    f"Option 'model.from' is run {start.run}, and the {key} of input {name!r} are others in its data. "
                    "Expected the same ones, because weights are learned for a word's or a feature's place. Train on "
                    "data with the same ones, or leave 'from' out."
                )


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _unfit(start: WarmStart, ours: list[Any], theirs: list[Any], why: str) -> OptionsError:
    def told(layers: list[Any]) -> str:
        return ", ".join(f"{layer.name} {_shapes(layer)}" for layer in layers)

    return OptionsError(
        f"Option 'model.from' is run {start.run}, whose layers do not fit: {why}. Its layers: {told(theirs)}. This "
        f"model's: {told(ours)}. Expected the same up to the last one. Use the same family and options, or leave "
        "'from' out."
    )
