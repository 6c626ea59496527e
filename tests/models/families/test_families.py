"""Every family: its options, its inputs, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.families import FAMILIES, family
from tidegate.models.families.build import build_model, check_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

FEATURES = InputSpec((5,), "float32", "numeric", 0)
SERIES = InputSpec((4, 3), "float32", "numeric", 0)
IMAGE = InputSpec((8, 8, 1), "float32", "image", 0)
TEXT = InputSpec((6,), "int32", "text", 20)

USER = InputSpec((1,), "int32", "id", 9)
CODES = InputSpec((4,), "int32", "id", 12)

TAKES: dict[str, tuple[dict[str, Any], dict[str, InputSpec]]] = {
    "linear on one": ({"family": "linear"}, {"features": FEATURES}),
    "linear on several": ({"family": "linear", "dropout": 0.1}, {"features": FEATURES, "image": IMAGE}),
    "mlp": (
        {
            "family": "mlp",
            "hidden": [9],
            "batch_norm": True,
            "dropout": 0.1,
            "l2": 1e-4,
            "activation": "gelu",
        },
        {"features": FEATURES, "series": SERIES},
    ),
    "mlp on ids": ({"family": "mlp", "hidden": [9]}, {"features": FEATURES, "user": USER, "codes": CODES}),
    "cnn": ({"family": "cnn", "filters": [4, 4, 4, 4], "dense": [8]}, {"image": IMAGE}),
    "cnn on several": (
        {"family": "cnn", "filters": [4], "pooling": "average", "batch_norm": True, "dropout": 0},
        {"image": IMAGE, "features": FEATURES},
    ),
    "lstm": ({"family": "lstm", "units": [6, 5], "dense": [4], "dropout": 0.1}, {"series": SERIES}),
    "lstm on several": ({"family": "lstm"}, {"series": SERIES, "features": FEATURES, "image": IMAGE}),
    "lstm on one number a step": ({"family": "lstm", "units": [4]}, {"features": FEATURES}),
    "lstm on steps read as one": (
        {"family": "lstm", "units": [4], "patch": 3, "pooling": "mean"},
        {"frames": InputSpec((8, 4), "float32", "sequence")},
    ),
    "text by pooling": ({"family": "text", "embedding": 8}, {"review": TEXT}),
    "text by convolution": (
        {"family": "text", "mode": "convolution", "filters": 8, "kernel_size": 3},
        {"review": TEXT, "features": FEATURES},
    ),
}


def rows(specs: dict[str, InputSpec], count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(0, spec.vocabulary, (count, *spec.shape)).astype(np.int32)
        if spec.kind == "text"
        else random.random((count, *spec.shape), dtype=np.float32)
        for name, spec in specs.items()
    }


@pytest.mark.parametrize("case", TAKES)
def test_a_family_answers_every_row(case: str) -> None:
    model, specs = TAKES[case]
    built = build_model(model, specs, Outputs(3, "softmax"), 1)
    answers = predict(built, rows(specs, 7))
    assert answers.shape == (7, 3) and answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(("name", "key", "near"), [("mlp", "hiden", "hidden"), ("cnn", "filter", "filters")])
def test_an_unknown_option_names_the_nearest(name: str, key: str, near: str) -> None:
    with pytest.raises(
        OptionsError, match=rf"unknown option 'model.{key}'; expected .*; did you mean '{near}'"
    ):
        check_model({"family": name, key: 1})


def test_every_option_has_a_sentence_and_cannot_change() -> None:
    for name in FAMILIES:
        options = family(name).Options
        assert all(field.description for field in options.model_fields.values())
        assert options.model_config["frozen"] and options.model_config["extra"] == "forbid"


def test_a_wrong_value_is_told_with_what_was_received() -> None:
    with pytest.raises(OptionsError, match=r"'model.dropout' is 1.5; expected a number below 1"):
        check_model({"family": "mlp", "dropout": 1.5})


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "lstm"])
def test_text_is_refused_by_families_of_numbers(name: str) -> None:
    with pytest.raises(OptionsError, match=rf"family '{name}' cannot take input 'review', which is text"):
        build_model({"family": name}, {"review": TEXT, "image": IMAGE}, Outputs(2, "softmax"), 1)


@pytest.mark.parametrize(("name", "kind"), [("cnn", "image"), ("text", "text")])
def test_a_family_without_its_input_says_so(name: str, kind: str) -> None:
    with pytest.raises(
        OptionsError, match=rf"has the inputs features \(numeric.*; expected one of kind {kind}"
    ):
        build_model({"family": name}, {"features": FEATURES}, Outputs(2, "softmax"), 1)


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ({"image": IMAGE}, r"has the inputs image \(image, .*; expected one of kind numeric"),
        (
            {"cube": InputSpec((2, 3, 4), "float32", "numeric", 0)},
            r"has the inputs cube \(2, 3, 4\); expected a numeric one of shape \(steps, features\) or",
        ),
    ],
)
def test_an_lstm_without_a_series_says_so(specs: dict[str, InputSpec], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        build_model({"family": "lstm"}, specs, Outputs(2, "softmax"), 1)


@pytest.mark.parametrize("mode", ["pooling", "convolution"])
def test_padding_changes_no_answer_and_an_empty_text_has_one(mode: str) -> None:
    long = InputSpec((12,), "int32", "text", 20)
    model = {"family": "text", "mode": mode, "embedding": 4}
    short_model = build_model(model, {"review": TEXT}, Outputs(2, "softmax"), 1)
    long_model = build_model(model, {"review": long}, Outputs(2, "softmax"), 1)
    words = np.array([[3, 4, 5, 0, 0, 0], [0] * 6], np.int32)
    padded = np.pad(words, ((0, 0), (0, 6)))
    answers = predict(short_model, {"review": words})
    assert np.isfinite(answers).all()
    np.testing.assert_allclose(answers, predict(long_model, {"review": padded}), atol=1e-6)


def test_text_learns_which_word_decides() -> None:
    random = np.random.default_rng(0)
    words = random.integers(2, 20, (200, 6)).astype(np.int32)
    y = (words == 7).any(axis=1).astype(np.int64)
    model = build_model(
        {"family": "text", "embedding": 8, "dropout": 0}, {"review": TEXT}, Outputs(2, "softmax"), 1
    )
    training = {"epochs": 30, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    history = fit(
        model, ({"review": words}, y), None, training, task="classification", classes=(0, 1), seed=1
    )
    assert history.epochs[-1]["accuracy"] > 0.95
