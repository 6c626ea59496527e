"""Export of a model that writes texts so that it reads only new tokens: keys and values go in and come out.

`tokens`, `positions`, `past_positions` and of each layer `past_key_I` and `past_value_I` go in; `output` and of each
layer `new_key_I` and `new_value_I` come out, see `cached_steps.Steps.read`. The numbers of rows, of new and of earlier
tokens are free.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tidegate.models.errors import ExportError, one_line
from tidegate.models.export.cached_steps import Steps
from tidegate.models.export.onnx import check, convert, reason, rename, silence
from tidegate.models.export.saved_keras import load_saved

FAMILY, LAYER = "gpt", "query_key_value_0"  # what its model and one of its layers are called


def has_cache(model: Any) -> bool:
    """Whether a trained Keras model is of a family whose keys and values can be kept."""
    return model.name == FAMILY and any(layer.name == LAYER for layer in model.layers)


def export_saved_cached(model: Any, saved: Path, path: Path) -> None:
    """Write the ONNX file of a trained model; from its `.keras` file if Keras does not run on TensorFlow.

    Args:
        model: the trained model, for which `has_cache` is true.
        saved: its `.keras` file.
        path: the file to write.

    Raises:
        ExportError: with the reason.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        export_cached(model, path)
        return
    argv = [sys.executable, "-P", "-m", "tidegate.models.export.onnx_cache", str(saved), str(path)]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError((done.stderr.strip().splitlines() or ["the export ended without a message"])[-1])


def export_cached(model: Any, path: Path) -> None:
    """Write the ONNX file of a loaded model; raises ExportError, and then nothing is left there."""
    try:
        with silence():
            proto = _converted(Steps(model))
            check(proto)
    except Exception as error:
        raise ExportError(f"the model has no ONNX form with a cache: {reason(error)}") from error
    path.write_bytes(proto.SerializeToString())


def _converted(steps: Steps) -> Any:
    import tensorflow as tf

    heads, dim = steps.heads
    pairs = [f"{part}_{place}" for place in range(steps.layers) for part in ("key", "value")]
    names = ["tokens", "positions", "past_positions", *(f"past_{name}" for name in pairs)]
    shapes = [[None, None]] * 3 + [[None, heads, None, dim]] * len(pairs)
    signature = [
        tf.TensorSpec(shape, tf.int32 if len(shape) == 2 else tf.float32, name=f"input_{place}")
        for place, shape in enumerate(shapes)
    ]
    proto = convert(steps.read, signature)
    rename(proto, names, ["output", *(f"new_{name}" for name in pairs)])
    for end in (*proto.graph.input, *proto.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "rows"
    return proto


def main(saved: str, path: str) -> None:
    """The separate process: `python -m tidegate.models.export.onnx_cache KERAS ONNX`."""
    try:
        export_cached(load_saved(Path(saved), None), Path(path))
    except Exception as error:
        sys.exit(one_line(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
