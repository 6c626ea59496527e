"""A user's model is saved and loaded again before it is trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tidegate.models.errors import UserModelError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.user_models.storable import require_storable
from tidegate.models.preprocessing.transforms import InputSpec

SPECS = {"x": InputSpec((4,), "float32", "numeric", 0)}
ROWS = {"x": np.ones((2, 4), np.float32)}
NET = """import keras

class Net({base}):
    def __init__(self, units, deep=2{kwargs}):
        super().__init__({passed})
        self.units, self.deep = units, deep
        self.out = keras.layers.Dense(units, activation="softmax")
    def call(self, x):
        return self.out(x){call}
{config}
def build(inputs, outputs):
    {built}
"""
CONFIG = """    def get_config(self):
        return {**super().get_config(), "units": self.units}
"""
MODEL = "return Net(outputs.units)"
LAYER = "return keras.Model(inputs, Net(outputs.units)(inputs['x']))"
REGISTERED = {"kwargs": ", **kwargs", "passed": "**kwargs", "config": CONFIG}
COUNTED = {
    **REGISTERED,
    "config": CONFIG.replace("units}", "units + 1}"),
    "call": "[:, :3]",
    "built": "return Net(3)",
}
CASES: dict[str, tuple[dict[str, str], str]] = {
    "a model with its config": (REGISTERED, ""),
    "a layer with its config": ({**REGISTERED, "base": "keras.layers.Layer", "built": LAYER}, ""),
    "as tutorials write it": ({}, ""),
    "a layer as tutorials write it": ({"base": "keras.layers.Layer", "built": LAYER}, ""),
    "two of them, frozen and named": (
        {
            "base": "keras.layers.Layer",
            "built": "net, other = Net(4), Net(units=outputs.units, deep=[3, 'x']); net.trainable = False; "
            "return keras.Model(inputs, other(net(inputs['x'])))",
        },
        "",
    ),
    "a layer as its argument": (
        {
            "built": "return Net(outputs.units, deep=keras.layers.Dense(2))",
            "config": "    def call(self, x):\n        return self.out(self.deep(x))\n",
        },
        "",
    ),
    "an argument that Keras does not store": (
        {"built": "return Net(outputs.units, deep=object())"},
        r":4: class Net has no get_config\(\).*\"units\": self.units, \"deep\": self.deep",
    ),
    "a config that forgets an argument": (
        {**REGISTERED, "config": "    def get_config(self):\n        return {'name': self.name}\n"},
        "the untrained model cannot be saved and loaded again: TypeError",
    ),
    "a config of another network": (COUNTED, "the untrained model"),
    "numbers outside of weights": (
        {
            **REGISTERED,
            "call": " * self.scale",
            "built": "net = Net(outputs.units); net.scale = 0.5; return net",
            "config": CONFIG + "    scale = 1.0\n",
        },
        "saved and loaded again, has other answers, up to",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_could_not_be_loaded_again_is_refused_before_it_is_trained(case: str, tmp_path: Path) -> None:
    changes, words = CASES[case]
    parts = {
        "base": "keras.Model",
        "kwargs": "",
        "passed": "",
        "config": "",
        "call": "",
        "built": MODEL,
    } | changes
    path = tmp_path / "my_model.py"
    path.write_text(NET.format(**parts))
    model = build_model({"file": str(path)}, SPECS, Outputs(3, "softmax"), 1)
    if not words:
        require_storable(model, ROWS, path)
        return
    with pytest.raises(UserModelError) as caught:
        require_storable(model, ROWS, path)
    assert re.search(words, str(caught.value))
