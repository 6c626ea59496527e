"""ONNX files of other frameworks: what is read of them, what is served, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.models.imported.onnx_files import CLASSES, probability, write_sklearn, write_torch
from tidegate.models.errors import UserModelError
from tidegate.models.imported.onnx_model import OnnxModel, add_activation, read_onnx

ROWS = np.random.default_rng(0).normal(5, 2, (20, 3)).astype(np.float32)


def served(model: OnnxModel, path: Path) -> list[np.ndarray]:
    model.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: ROWS}))


@pytest.mark.parametrize("zip_map", [True, False])
def test_a_classifier_of_scikit_learn_answers_its_probabilities_alone(tmp_path: Path, zip_map: bool) -> None:
    model = read_onnx(write_sklearn(tmp_path / "model.onnx", zip_map))
    assert [str(one) for one in model.inputs] == ["'float_input' (float32, a row of shape (3))"]
    assert model.classes == tuple(CLASSES)
    (answers,) = served(model, tmp_path / "served.onnx")
    expected = np.concatenate([1 - probability(ROWS), probability(ROWS)], axis=1)
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    assert any("label" in sentence for sentence in model.changed)


def test_logits_get_the_activation_that_was_asked_for(tmp_path: Path) -> None:
    model = read_onnx(write_torch(tmp_path / "model.onnx"))
    assert not model.changed
    add_activation(model, "softmax")
    (answers,) = served(model, tmp_path / "served.onnx")
    np.testing.assert_allclose(answers[:, 1:], probability(ROWS), atol=1e-6)


def test_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserModelError, match=r"'input' has 1 rows; expected any number .* dynamic_axes"):
        read_onnx(write_torch(tmp_path / "model.onnx", rows=1))


def test_two_outputs_of_numbers_are_refused(tmp_path: Path) -> None:
    model = read_onnx(write_torch(tmp_path / "model.onnx"))
    other = model.proto.graph.output.add()
    other.CopyFrom(model.proto.graph.output[0])
    other.name = "input"
    model.save(tmp_path / "two.onnx")
    with pytest.raises(UserModelError, match=r"has the outputs logits \(float32\), input \(float32\)"):
        read_onnx(tmp_path / "two.onnx")
