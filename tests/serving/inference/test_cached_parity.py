"""A file with a cache is proved against the trained model's answers to whole texts; a wrong one is found out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.conformance.conftest import built
from tidegate.models.data.columns import load_columns
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.errors import ParityError
from tidegate.serving.inference.cached_parity import measure_cached
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield built("texts", tmp_path_factory)


@pytest.fixture(scope="module")
def case(folder: Path) -> tuple[Bundle, Predictor, dict[str, Any], np.ndarray]:
    """The bundle, a predictor that reads whole texts, raw rows, and what that one says of them."""
    bundle = open_bundle(folder / "gpt-onnx")
    predictor = Predictor(bundle.contract, bundle.transforms, load_model("onnx", bundle.model))
    columns = load_columns(folder / "gpt.npz")
    return bundle, predictor, columns, predictor.token_probabilities(columns)


def test_the_bundle_s_own_is_equal(case: Any) -> None:
    bundle, predictor, columns, reference = case
    parity = measure_cached(predictor, bundle.cached, columns, reference, None)
    assert parity.passed and parity.rows == 32 and parity.max_abs_difference < 2e-5


def test_one_that_forgets_or_misplaces_is_found_out(case: Any, tmp_path: Path) -> None:
    bundle, predictor, columns, reference = case
    proto = onnx.load(bundle.cached)
    for name in ("past_value_1", "past_positions"):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(proto)
        for node in wrong.graph.node:
            given = ["wrong" if one == name else one for one in node.input]
            node.ClearField("input")
            node.input.extend(given)
        wrong.graph.node.insert(0, onnx.helper.make_node("Neg", [name], ["wrong"]))
        onnx.save(wrong, tmp_path / "wrong.onnx")
        assert not measure_cached(predictor, tmp_path / "wrong.onnx", columns, reference, None).passed


def test_another_shape_is_told(case: Any) -> None:
    bundle, predictor, columns, reference = case
    with pytest.raises(ParityError, match="expected equal shapes"):
        measure_cached(predictor, bundle.cached, columns, reference[:, :, 1:], None)


def test_the_endpoint_s_predictor_reads_each_token_once_and_writes_the_same(case: Any) -> None:
    bundle, whole, columns, reference = case
    predictor, prompts = Predictor.of(bundle), {"prompt": columns["prompt"]}
    for method in ("greedy", "sample", "beam"):
        wanted = {"method": method, "seed": 5, "max_length": 12, "width": 3}
        chosen = predictor.reader.parse_settings({"decoding": wanted})
        ours, theirs = (one.predict_columns(prompts, chosen) for one in (predictor, whole))
        assert ours[:, 1].tolist() == theirs[:, 1].tolist()
    np.testing.assert_allclose(predictor.token_probabilities(columns), reference, atol=1e-5)
