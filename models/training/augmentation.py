"""Data augmentation of images: flips, rotations, shifts and noise.

The changes are Keras' own layers before the model, in a wrapper model that is only used for training. Their random
numbers come from seed generators, which are variables: a checkpoint contains them, and a resumed training gives the
same bits.

Boxes and masks move when an image is flipped. Instead of flipping the target, the model's output for a flipped image is
flipped back; of boxes this works because the default boxes are their own mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tidegate.models.config.training_parts import Augmentation, require_kept_places
from tidegate.models.data.default_boxes import Grid
from tidegate.models.errors import OptionsError
from tidegate.models.preprocessing.schema import Target


def augmented(
    model: Any,
    images: Sequence[str],
    options: Augmentation,
    seed: int,
    grids: Sequence[Grid] = (),
    target: Target | None = None,
) -> Any:
    """Return a Keras model that changes the images in training, and shares all weights with `model`.

    Outside of training its output is that of `model`.

    Args:
        model: an untrained Keras model.
        images: names of the inputs that are images, float32 (rows, height, width, channels).
        options: the changes.
        seed: seeds the changes.
        grids: the default boxes of a detection; () for other tasks.
        target: what is predicted, which has a shape of its own where the answer has places; None: it has none.

    Raises:
        OptionsError: the model has no image input, or answers boxes or places that a change would move.
    """
    import keras

    from tidegate.models.training.flips import flip_back, flip_places_back

    read = [tensor.name for tensor in model.inputs if tensor.name in images]
    if not read:
        have = ", ".join(f"{tensor.name} {tuple(tensor.shape[1:])}" for tensor in model.inputs)
        raise OptionsError(
            f"option 'training.augmentation' is given and the model's inputs are {have}; expected an image; set "
            "{name: ..., kind: image} in data.inputs, or leave augmentation out"
        )
    tensors = {
        tensor.name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }
    drawn = np.random.SeedSequence(seed)
    if grids:
        _require_kept_boxes(options)
        size = tuple(tensors[read[0]].shape[1:3])
        seeds = [int(one) for one in drawn.generate_state(3)]
        return _flipped(
            model, tensors, read[0], options, seeds, partial(flip_back, grids=grids, size=(size[0], size[1]))
        )
    if _has_places(target) and (options.flip or options.rotate or options.shift):
        places = tuple(model.outputs[0].shape[1:3])
        one = len(read) == len(model.outputs) == 1 and places == tuple(tensors[read[0]].shape[1:3])
        require_kept_places(options, one)
        seeds = [int(one) & 0x7FFFFFFF for one in drawn.generate_state(5)[[0, 1, 4]]]
        return _flipped(model, tensors, read[0], options, seeds, flip_places_back)
    changed = dict(tensors)
    for place, name in enumerate(read):
        for layer in _layers(options, seed + place):
            changed[name] = layer(changed[name])
    return keras.Model(tensors, model(changed), name="augmented")


def _require_kept_boxes(options: Augmentation) -> None:
    if options.rotate or options.shift:
        raise OptionsError(
            f"option 'training.augmentation' is {options.model_dump(exclude_defaults=True)}, and boxes would not move "
            "along; expected flip and noise alone for a target of boxes; leave rotate and shift out"
        )


def _has_places(target: Target | None) -> bool:
    """Whether an answer, or one of several, has a value at each place of an array."""
    if target is None:
        return False
    return any(one.shape is not None and one.quantiles is None for one in target.outputs or (target,))


def _flipped(
    model: Any,
    tensors: dict[str, Any],
    image: str,
    options: Augmentation,
    seeds: Sequence[int],
    back: Callable[[Any, Any, str], Any],
) -> Any:
    """A model with random flips and noise on its image, whose answers are flipped back.

    Args:
        model: as it is.
        tensors: its inputs by name.
        image: the name of the one that is changed.
        options: flip and noise alone.
        seeds: of the flips from side to side, of those upside down, and of noise.
        back: from answers, which of them are of a flipped image, and the axis, to the answers for the image before.
    """
    import keras

    from tidegate.models.training.flips import flip

    x, undo = tensors[image], []
    for axis, drawn in zip(("horizontal", "vertical"), seeds[:2], strict=True):
        if options.flip in (axis, "both"):
            layer = _in_float32(keras.layers.RandomFlip(axis, seed=drawn, dtype="float32"))
            x, flipped = flip(x, axis, layer)
            undo.append((flipped, axis))
    if options.noise:
        x = _in_float32(keras.layers.GaussianNoise(options.noise, seed=seeds[2], dtype="float32"))(x)
    answers = model({**tensors, image: x})
    for flipped, axis in undo:
        answers = back(answers, flipped, axis)
    return keras.Model(tensors, answers, name="augmented")


def _layers(options: Augmentation, seed: int) -> list[Any]:
    """The layers that change an image, in order, each with its own seed; edges are filled with the nearest pixels."""
    from keras import layers

    # Below 2^31, because on the torch backend a generator's state is int32.
    seeds = (int(drawn) & 0x7FFFFFFF for drawn in np.random.SeedSequence(seed).generate_state(5))
    across, upright, turn, move, noise = ({"seed": one, "dtype": "float32"} for one in seeds)
    found: list[Any] = []
    if options.flip in ("horizontal", "both"):
        found.append(layers.RandomFlip("horizontal", **across))
    if options.flip in ("vertical", "both"):
        found.append(layers.RandomFlip("vertical", **upright))
    if options.rotate:
        found.append(layers.RandomRotation(options.rotate / 360, fill_mode="nearest", **turn))
    if options.shift:
        found.append(layers.RandomTranslation(options.shift, options.shift, fill_mode="nearest", **move))
    if options.noise:
        found.append(layers.GaussianNoise(options.noise, **noise))
    return [_in_float32(layer) for layer in found]


def _in_float32(layer: Any) -> Any:
    """Let a layer draw float32 even if Keras computes in float64, because `RandomRotation` cannot mix the two."""
    import keras

    call = layer.call

    def narrow(*args: Any, **more: Any) -> Any:
        wide = keras.config.floatx()
        keras.config.set_floatx("float32")
        try:
            return call(*args, **more)
        finally:
            keras.config.set_floatx(wide)

    layer.call = narrow
    return layer
