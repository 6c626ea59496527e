"""A layer that returns another size at inference than in training is named before the first epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tidegate.models.errors import UserModelError, one_line
from tidegate.models.networks.inference import require_answers

ROWS = {"image": np.zeros((2, 12, 10, 3), np.float32)}
PATH = Path("my_model.py")


def _model(after: Any) -> Any:
    x: Any = keras.Input((12, 10, 3), name="image")
    y = keras.layers.RandomCrop(8, 8, name="crop")(x)
    return keras.Model({"image": x}, keras.layers.Dense(2)(after(y)))


def test_a_layer_of_another_size_is_named() -> None:
    with pytest.raises(UserModelError) as caught:
        require_answers(_model(keras.layers.Flatten()), ROWS, PATH)
    assert str(caught.value) == (
        "my_model.py: the layer 'crop' (RandomCrop) returns rows of shape (12, 10, 3) at inference; expected "
        "(8, 8, 3), for which the layers after it were built, as in training; let what follows take any size, such as "
        "GlobalAveragePooling2D, or use a layer of one size, such as CenterCrop"
    )


def test_it_is_named_within_a_nested_model_too() -> None:
    inner = keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.RandomCrop(8, 8, name="inner_crop"), keras.layers.Flatten()]
    )
    x: Any = keras.Input((12, 10, 3), name="image")
    with pytest.raises(UserModelError, match=r"the layer 'inner_crop' \(RandomCrop\) returns rows of shape"):
        require_answers(keras.Model({"image": x}, keras.layers.Dense(2)(inner(x))), ROWS, PATH)


def test_what_follows_may_take_any_size() -> None:
    require_answers(_model(keras.layers.GlobalAveragePooling2D()), ROWS, PATH)


def test_a_quoted_message_has_no_terminal_codes() -> None:
    assert one_line("\x1b[1mThe shape\x1b[0m\n\n  is \x1b[38;5;45mwrong") == "The shape is wrong"
