"""Fine-tuning: start from the weights of an earlier run, and freeze some of its layers.

Source: Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?" (2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError, one_line


@dataclass(frozen=True)
class WarmStart:
    """The earlier model that a training starts from.

    Attributes:
        run: the earlier run's id, or the name of a file.
        keras: the model of its best trial, a .keras file whose digest was checked; or weights alone, as
            `Model.save_weights` writes them (.weights.h5).
        transforms: the transforms of its inputs, see `Transforms.to_dict`; None: what they meant is not known.
        freeze: name patterns of layers whose weights stay fixed, such as conv2d*.
        code: the user's model file, which may define layers of the model.
    """

    run: str
    keras: Path
    transforms: Mapping[str, Any] | None
    freeze: Sequence[str] = ()
    code: Path | None = None

    @property
    def whose(self) -> str:
        """What it is, for messages."""
        return f"run {self.run}" if self.transforms is not None else self.run


def warm_start(model: Any, start: WarmStart, transforms: Mapping[str, Any]) -> list[str]:
    """Give an untrained model the earlier weights, freeze layers, and return the names of the frozen layers.

    Layers with weights are paired in order. The last layer keeps its new weights if its shape differs, for example
    because of other classes; then it cannot be frozen.

    Args:
        model: from `build_model`; changed in place.
        start: the earlier model.
        transforms: the transforms of `model`'s inputs.

    Raises:
        OptionsError: layers do not fit, words or features have another meaning, or a pattern matches no layer.
    """
    import keras

    from tidegate.models.user_code.model_source import custom_objects

    if start.keras.name.endswith(".h5"):
        return _load_weights(model, start)
    if start.transforms is not None:
        _require_same_meaning(start, start.transforms, transforms)
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
    return _frozen(model, start, layers)


def _load_weights(model: Any, start: WarmStart) -> list[str]:
    """Give the model weights that Keras wrote for a model of the same layers."""
    try:
        model.load_weights(start.keras)
    except Exception as error:  # Keras raises many kinds
        raise OptionsError(
            f"option 'model.from' is {start.run}, whose weights do not fit: {one_line(error)[:400]}; expected weights "
            "that save_weights() wrote for a model of the same layers; use the same layers, or leave 'from' out"
        ) from error
    return _frozen(model, start, {layer.name: layer for layer in model.layers if layer.weights})


def _frozen(model: Any, start: WarmStart, layers: dict[str, Any]) -> list[str]:
    frozen = _freeze(start, layers)
    if not model.trainable_variables:
        raise OptionsError(
            f"option 'model.freeze' is {list(start.freeze)}, which freezes all weights; expected some to be trained; "
            f"name fewer layers of: {', '.join(layers)}"
        )
    return frozen


def _freeze(start: WarmStart, layers: dict[str, Any]) -> list[str]:
    """Patterns are matched with the names in the earlier model, which are the same in every process."""
    frozen: list[str] = []
    for pattern in start.freeze:
        found = [name for name in layers if fnmatch(name, pattern)]
        if not found:
            raise OptionsError(
                f"option 'model.freeze' has {pattern!r}, which matches no layer of {start.whose}"
                f"{did_you_mean(pattern, layers)}"
            )
        frozen += found
    for name in frozen:
        layers[name].trainable = False
    return sorted(set(frozen))


def _require_same_meaning(start: WarmStart, theirs: Mapping[str, Any], transforms: Mapping[str, Any]) -> None:
    """A word's id and a feature's position must be the same as when the weights were trained."""
    earlier = {entry["name"]: entry for entry in theirs["inputs"]}
    for entry in transforms["inputs"]:
        name, before = entry["name"], earlier.get(entry["name"])
        if before is None or before["encoder"] != entry["encoder"]:
            raise OptionsError(
                f"option 'model.from' is {start.whose}, whose inputs are {', '.join(earlier)}, without input "
                f"{name!r} ({entry['encoder']}); expected the same inputs; change data.inputs, or leave 'from' out"
            )
        for key in ("words", "names", "categories"):
            if before["content"].get(key) != entry["content"].get(key):
                raise OptionsError(
                    f"option 'model.from' is {start.whose}, and the {key} of input {name!r} differ in its data; "
                    "expected the same ones, because the weights belong to them; train on data with the same ones, or "
                    "leave 'from' out"
                )


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _unfit(start: WarmStart, ours: list[Any], theirs: list[Any], why: str) -> OptionsError:
    def listed(layers: list[Any]) -> str:
        return ", ".join(f"{layer.name} {_shapes(layer)}" for layer in layers)

    return OptionsError(
        f"option 'model.from' is {start.whose}, whose layers do not fit: {why} (its layers: {listed(theirs)}; this "
        f"model's: {listed(ours)}); expected the same up to the last one; use the same family and options, or leave "
        "'from' out"
    )
