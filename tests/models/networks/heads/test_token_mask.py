"""A label for each token: families that answer it, and what they answer where no token is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

WORDS = InputSpec((5,), "int32", "text", 9)
CLASSES = ("", "B-X", "I-X", "O")
MODELS = {
    "transformer": {"family": "transformer", "width": 8, "feed_forward": 8, "layers": 1, "heads": 2},
    "text": {"family": "text", "embedding": 8, "mode": "convolution", "filters": 8, "kernel_size": 3},
}


def built(model: dict[str, Any], **more: InputSpec) -> Any:
    outputs = outputs_for("tagging", len(CLASSES), 5, shape=(5,))
    return build_model(model, {"words": WORDS, **more}, outputs, 1)


def rows(count: int = 24) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each even id begins an entity that the next id continues; rows of 0 to 5 tokens."""
    random = np.random.default_rng(0)
    ids = random.integers(1, 9, (count, 5)).astype(np.int32)
    ids[np.arange(5) >= (np.arange(count) % 6)[:, None]] = 0
    labels = np.where(ids % 2 == 0, 1, np.where(np.roll(ids, 1, axis=1) % 2 == 0, 2, 3))
    labels[:, 0] = np.where(ids[:, 0] % 2 == 0, 1, 3)
    return {"words": ids}, np.where(ids > 0, labels, -1)


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_and_answers_nothing_where_no_token_is(name: str, tmp_path: Path) -> None:
    model, (inputs, labels) = built(MODELS[name]), rows()
    asked = {"epochs": 40, "batch_size": 8, "optimizer": {"name": "adam", "learning_rate": 0.02}}
    history = fit(model, (inputs, labels), None, asked, task="tagging", classes=CLASSES, seed=1)
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
    answers, there = predict(model, inputs), labels >= 0
    assert answers.shape == (24, 5, 4) and np.isfinite(answers).all()
    assert (answers[~there] == [1, 0, 0, 0]).all() and (answers[there][:, 0] == 0).all()
    chosen = answers.argmax(axis=2)
    assert (chosen[there] == labels[there]).mean() > 0.8
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for part in (slice(None), slice(0, 1), slice(2, 4)):
        served = session.run(None, {"words": inputs["words"][part]})[0]
        np.testing.assert_allclose(served, answers[part], atol=1e-5)


OWN = """
import keras


def build(inputs, outputs):
    x = keras.layers.Embedding(inputs["words"].vocabulary, 8)(inputs["words"])
    return keras.Model(inputs, outputs.layer(keras.layers.Conv1D(8, 3, padding="same")(x)))
"""


def test_a_model_of_the_users_is_masked_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    answers, there = predict(built({"file": str(tmp_path / "mine.py")}), rows()[0]), rows()[1] >= 0
    assert (answers[~there] == [1, 0, 0, 0]).all() and answers[there].sum(axis=1) == pytest.approx(1)


def test_logits_are_refused() -> None:
    with pytest.raises(OptionsError, match="from_logits: true, and the target has a label for each token"):
        outputs_for(
            "tagging", 4, 5, {"name": "sparse_categorical_crossentropy", "from_logits": True}, shape=(5,)
        )


def test_the_loss_is_the_mean_over_tokens() -> None:
    model, (inputs, labels) = built(MODELS["text"] | {"dropout": 0}), rows()
    before, there = predict(model, inputs), labels >= 0
    right = np.take_along_axis(before, np.maximum(labels, 0)[:, :, None], axis=2)[:, :, 0][there]
    asked = {"epochs": 1, "batch_size": 24, "optimizer": {"name": "sgd", "learning_rate": 1e-9}}
    history = fit(model, (inputs, labels), None, asked, task="tagging", classes=CLASSES, seed=1)
    assert history.epochs[0]["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        (
            {"family": "mlp"},
            {},
            "takes? .*'words'|answers one class a row, and the target has a label for each token",
        ),
        ({"family": "text"}, {}, "'model.mode' is 'pooling', and the target has a label for each token"),
        (
            MODELS["transformer"],
            {"age": InputSpec((1,), "float32", "numeric")},
            "labels the tokens of 'words', and there are the inputs age",
        ),
    ],
)
def test_what_cannot_label_tokens_says_so(model: dict[str, Any], more: Any, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        built(model, **more)
