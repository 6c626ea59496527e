"""Operators that ONNX does not have answer as TensorFlow's do, near 0 and far from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

from tidegate.models.export.onnx import export_onnx
from tidegate.models.networks.predict import predict

CASES = {
    "expm1": keras.ops.expm1,
    "log1p": lambda x: keras.ops.log1p(keras.ops.abs(x)),
    "celu": keras.activations.celu,
    "exact gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "argmax": lambda x: keras.ops.one_hot(keras.ops.argmax(x, -1), 6),
    "argmin": lambda x: keras.ops.one_hot(keras.ops.argmin(x, -1), 6),
    "a grouped convolution": lambda x: keras.layers.Conv1D(4, 2, groups=2)(keras.layers.Reshape((3, 2))(x)),
}
ROWS = np.array(
    [
        [0.0, -0.0, 1e-7, -1e-7, 3e-4, -3e-4],
        [0.5, -0.5, 2.0, -2.0, 30.0, -30.0],
        [-0.0, 0.0, -0.0, 0.0, -0.0, 0.0],
        [-1.0, -3.0, -2.0, -1.0, -3.0, -4.0],
    ],
    np.float32,
)


@pytest.mark.parametrize("case", CASES)
def test_an_operator_that_onnx_has_not_is_rewritten(case: str, tmp_path: Path) -> None:
    x: Any = keras.Input((6,), name="x")
    model = keras.Model({"x": x}, CASES[case](x))
    export_onnx(model, tmp_path / "model.onnx")
    atol = 1e-7 if case == "exact gelu" else 1e-12  # 1 - erf has no more digits
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for rows in (ROWS, ROWS[:1]):
        (answers,) = session.run(None, {"x": rows})
        np.testing.assert_allclose(answers, predict(model, {"x": rows}), rtol=1e-6, atol=atol)
