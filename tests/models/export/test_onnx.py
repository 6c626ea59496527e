"""ONNX files: named inputs, any number of rows, and Keras' own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidegate.models.errors import ExportError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec

FEATURES = InputSpec((5,), "float32", "numeric", 0)
SERIES = InputSpec((6, 4), "float32", "numeric", 0)
IMAGE = InputSpec((8, 8, 1), "float32", "image", 0)
TEXT = InputSpec((6,), "int32", "text", 20)

FAMILIES: list[tuple[dict[str, Any], dict[str, InputSpec]]] = [
    ({"family": "linear"}, {"my features": FEATURES}),
    ({"family": "mlp", "activation": "gelu", "batch_norm": True}, {"features": FEATURES, "series": SERIES}),
    ({"family": "cnn", "filters": [4, 8], "batch_norm": True}, {"image": IMAGE, "features": FEATURES}),
    ({"family": "text"}, {"review": TEXT, "features": FEATURES}),
    ({"family": "text", "mode": "convolution"}, {"review": TEXT}),
]
LAYERS = {
    "exact gelu": "keras.ops.gelu(x, approximate=False)",
    "layer normalization": "layers.LayerNormalization()(x)",
    "batch normalization": "layers.BatchNormalization()(x)",
    "adapted normalization": "adapted(x)",
    "attention": "layers.MultiHeadAttention(2, 4)(x, x)",
    "gru": "layers.GRU(5)(x)",
    "lstm": "layers.Bidirectional(layers.LSTM(5))(layers.Masking()(x))",
}
CODE = """
import keras
import numpy as np
from keras import layers

def build(inputs, outputs):
    x = inputs["series"]
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(size=(50, 6, 4)))
    return keras.Model(inputs, outputs.layer(layers.Flatten()({0})))
"""


def rows(specs: dict[str, InputSpec], count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(0, spec.vocabulary, (count, *spec.shape)).astype(np.int32)
        if spec.kind == "text"
        else random.normal(size=(count, *spec.shape)).astype(np.float32)
        for name, spec in specs.items()
    }


def proves_equal(model: Any, specs: dict[str, InputSpec], path: Path) -> None:
    exported = export_onnx(model, path)
    assert set(exported.inputs) == set(specs) and exported.outputs == ("output",) and exported.opset >= 17
    session = onnxruntime.InferenceSession(path)
    for count in (1, 7):
        given = rows(specs, count)
        (answers,) = session.run(None, given)
        np.testing.assert_allclose(answers, predict(model, given), atol=2e-6)


@pytest.mark.parametrize(("model", "specs"), FAMILIES)
def test_every_family_answers_the_same_as_onnx(
    model: dict[str, Any], specs: dict[str, InputSpec], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    proves_equal(build_model(model, specs, Outputs(3, "softmax"), 1), specs, tmp_path / "model.onnx")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_users_layers_answer_the_same_as_onnx(layer: str, tmp_path: Path) -> None:
    file = tmp_path / "my_model.py"
    file.write_text(CODE.format(LAYERS[layer]))
    model = build_model({"file": str(file)}, {"series": SERIES}, Outputs(2, "linear"), 1)
    proves_equal(model, {"series": SERIES}, tmp_path / "model.onnx")


def test_what_onnx_has_not_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "my_model.py"
    file.write_text(CODE.format("keras.ops.svd(x)[1]"))
    model = build_model({"file": str(file)}, {"series": SERIES}, Outputs(2, "linear"), 1)
    with pytest.raises(ExportError, match="no ONNX form: it needs Svd, which ONNX does not have"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
