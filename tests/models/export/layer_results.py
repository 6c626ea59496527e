"""What was measured of the layers of Keras, and what is to be said of those that no model of one layer shows."""

import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("every_layer.json")
# What stands in a model in another way than as a layer of its own.
PARTS = {
    "Layer": "the class that layers of your own derive from",
    "Wrapper": "the class that layers around a layer derive from",
    "InputSpec": "what a layer says of its inputs",
    "InputLayer": "an input of a model",
    "SimpleRNNCell": "of `RNN`",
    "GRUCell": "of `RNN`",
    "LSTMCell": "of `RNN`",
    "StackedRNNCells": "of `RNN`",
    "MaxNumBoundingBoxes": "of a `tf.data` pipeline",
    "Equalization": "of a `tf.data` pipeline: Keras 3.15 cannot build a model with it",
    "FlaxLayer": "on JAX alone, which trains it and cannot be loaded on TensorFlow",
    "JaxLayer": "on JAX alone, which trains it and cannot be loaded on TensorFlow",
    "TorchModuleWrapper": "on PyTorch alone, which trains it and cannot be loaded on TensorFlow",
    "TFSMLayer": "a SavedModel; serve it by `model.import`",
}
# What a model may have instead.
INSTEAD = {
    "Hashing": "an input of `kind: id`",
    "HashedCrossing": "a column that `data.transform` makes of both, of `kind: id`",
    "IntegerLookup": "an input of `kind: id`",
    "StringLookup": "an input of `kind: categorical`",
    "Resizing": "images of one size",
    "TextVectorization": "an input of `kind: text`",
}


@dataclass(frozen=True)
class Result:
    """What became of a case: the largest difference, of the largest answer above 1; or why there is no ONNX file."""

    layer: str
    difference: float | None
    reason: str


def results() -> list[Result]:
    """What was measured last."""
    return [Result(**one) for one in json.loads(RESULTS.read_text("utf-8"))]
