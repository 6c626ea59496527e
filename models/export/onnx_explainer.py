"""The gradients of a trained model as an ONNX file, so that an endpoint can explain without TensorFlow; see
`explaining.integrated_gradients`.

Run as a separate process it also writes TensorFlow's attributions of a few rows, to verify the file:
`python -m tidegate.models.export.onnx_explainer KERAS TRANSFORMS COLUMNS TASK SLOPES REFERENCE [CODE]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.models.data.columns import load_columns, take
from tidegate.models.errors import ExportError, last_line, one_line
from tidegate.models.explaining.integrated_gradients import (
    ANSWERS,
    PARTS,
    PICKS,
    PLACES,
    POINTS,
    integrated_gradients,
)
from tidegate.models.export.onnx import check, convert, reason, rename, run_on_tensorflow, silence
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.preprocessing.transforms import Transforms

if TYPE_CHECKING:
    from tidegate.models.explaining.keras_gradients import KerasPathGradients

ROWS = 16  # rows that are explained to verify the file


def export_path_gradients(model: Any, gradients: KerasPathGradients, path: Path) -> None:
    """Write the gradients of `model` as an ONNX file for POINTS rows.

    Its inputs are the model's inputs by name, PLACES and PICKS; its outputs are ANSWERS, and PARTS plus its name for
    each input; see `explaining.integrated_gradients.PathGradients`.

    Args:
        model: a trained Keras model, on TensorFlow.
        gradients: of the model.
        path: the file to write; nothing is left there when the export fails.

    Raises:
        ExportError: the gradients have no ONNX form; the message says why.
    """
    import tensorflow as tf

    names = [tensor.name for tensor in model.inputs]
    signature = [
        tf.TensorSpec((POINTS, *tensor.shape[1:]), tensor.dtype, name=f"input_{place}")
        for place, tensor in enumerate(model.inputs)
    ]
    signature.append(tf.TensorSpec((POINTS,), tf.float32, name="places"))
    signature.append(tf.TensorSpec((POINTS, gradients.units), tf.float32, name="picks"))

    def along(*tensors: Any) -> Any:
        *given, places, picks = tensors
        answers, parts = gradients.along(dict(zip(names, given, strict=True)), places, picks)
        return [answers, *(parts[name] for name in names)]

    from tidegate.models.export.onnx_gradients import handlers
    from tidegate.models.export.onnx_recurrences import looped

    try:
        with silence(), looped(model):
            proto = convert(along, signature, handlers())
            rename(proto, [*names, PLACES, PICKS], [ANSWERS, *(f"{PARTS}{name}" for name in names)])
            check(proto)
    except Exception as error:
        raise ExportError(f"the model's gradient has no ONNX form: {reason(error, model)}") from error
    path.write_bytes(proto.SerializeToString())


def export_saved_path_gradients(
    *,
    saved: Path,
    transforms: Path,
    columns: Path,
    task: str,
    path: Path,
    reference: Path,
    code: Path | None,
) -> str:
    """Export the gradients of a `.keras` file in a separate process, on TensorFlow whatever backend trained it.

    Args:
        saved: the `.keras` file.
        transforms: JSON file of the transforms.
        columns: held-out raw rows, written by `save_columns`.
        task: "classification" or "regression".
        path: the ONNX file to write; nothing is left there when that fails.
        reference: the .npz file to write with the attributions of the first ROWS rows, by model input.
        code: the user's model file, which may define layers of the model.

    Returns:
        The reason why there is no ONNX file, or "".

    Raises:
        ExportError: the model cannot be explained at all.
    """
    module = "tidegate.models.export.onnx_explainer"
    given = [saved, transforms, columns, task, path, reference, *([code] if code else [])]
    printed = run_on_tensorflow(module, *given)
    return "" if path.exists() else last_line(printed)


def main(
    saved: str, transforms: str, columns: str, task: str, path: str, reference: str, code: str | None = None
) -> None:
    """The separate process; it prints why there is no ONNX file."""
    import_keras(own_code=code is not None)
    import keras

    from tidegate.models.explaining.keras_gradients import KerasPathGradients
    from tidegate.models.networks.predict import predict
    from tidegate.models.user_code.model_source import custom_objects

    own = custom_objects(Path(code)) if code else {}
    try:
        model = keras.models.load_model(saved, custom_objects=own, compile=False)
        fitted = Transforms.from_dict(json.loads(Path(transforms).read_bytes()))
        rows = load_columns(Path(columns))
        inputs = inputs_of(
            model, fitted.apply(take(rows, np.arange(min(ROWS, len(next(iter(rows.values())))))))
        )
        found = KerasPathGradients(model, fitted.input_specs)
        classes = task == "classification"
        values = predict(model, inputs)
        values = np.concatenate([1 - values, values], axis=1) if classes and found.units == 1 else values
        explained = integrated_gradients(found, inputs, values, classes)
        np.savez(reference, allow_pickle=False, **explained.attributions)
    except Exception as error:
        sys.exit(one_line(error))
    try:
        export_path_gradients(model, found, Path(path))
    except ExportError as error:
        print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
