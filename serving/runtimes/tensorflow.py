"""TensorFlow: the runtime for models that have no exact ONNX form."""

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.explaining.integrated_gradients import PathGradients
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.networks.predict import as_numpy
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.user_code.code_folder import is_code_folder
from tidegate.models.user_code.model_source import custom_objects
from tidegate.serving.runtimes import Run


def load(model: Path, code: Path | None, threads: int) -> Run:
    """Load a `.keras` file without unpickling code; `code` supplies the user's own layers."""
    tf = _tensorflow(code)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    network = _network(model, code)
    names = [tensor.name for tensor in network.inputs]
    infer = tf.function(lambda inputs: network(inputs, training=False), reduce_retracing=True)

    def run(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        # By name, as in training: a model of several inputs refuses a list.
        output = infer({name: tf.constant(inputs[name]) for name in names})
        return as_numpy(output)

    return run


def load_before(model: Path, code: Path | None, threads: int) -> Run | None:
    """The model of `load` without its last activation; its threads are those of `load`."""
    del threads
    network = _network(model, code)
    from tidegate.models.networks.heads.last_activation import predict_before, without_last_activation

    with without_last_activation(network) as found:
        if not found:
            return None

    def run(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answers = predict_before(network, inputs)
        assert answers is not None
        return answers

    return run


def load_slopes(
    model: Path, code: Path | None, threads: int, specs: Mapping[str, InputSpec]
) -> PathGradients:
    """The slopes of a `.keras` file; the model is that of `load`, and so are its threads."""
    del threads
    network = _network(model, code)
    from tidegate.models.explaining.keras_gradients import KerasPathGradients

    return KerasPathGradients(network, specs)


def _tensorflow(code: Path | None) -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever this machine's keras.json says
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import_keras(own_code=code is not None)
    import tensorflow as tf

    return tf


@cache
def _network(model: Path, code: Path | None) -> Any:
    _tensorflow(code)
    import keras

    own = {} if code is None else _own_objects(code)
    return keras.models.load_model(model, custom_objects=own, compile=False, safe_mode=True)


def _own_objects(code: Path) -> dict[str, Any]:
    """The classes and functions that the user's code defines, by name; an older bundle has one file of it.

    The source is executed from memory: importing it would leave a compiled file in the bundle.
    """
    if is_code_folder(code):
        return custom_objects(code)
    module = ModuleType(code.stem)
    module.__file__ = str(code)
    sys.modules[module.__name__] = module
    exec(compile(code.read_bytes(), str(code), "exec"), module.__dict__)
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
