"""A model exported with a cache answers in any pieces what the trained one answers to the whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.families.test_every_family import built
from tidegate.models.decoding.cache import PrefixReader
from tidegate.models.errors import ExportError
from tidegate.models.export.onnx_cache import export_cached, has_cache
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.serving.runtimes import load_cached
from tidegate.serving.untrusted import check_model

# Keras' own, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PREFIX = InputSpec((7,), "int32", "prefix", 20)
ROWS, STEPS = 3, 200


@pytest.fixture(scope="module")
def network() -> Any:
    model, random = built("gpt", PREFIX), np.random.default_rng(1)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("pieces", [None, (1, 1, 7, 1, 2), (64,)])
def test_it_answers_what_the_trained_model_does(network: Any, tmp_path: Path, pieces: Any) -> None:
    tokens = np.random.default_rng(0).integers(0, 20, (ROWS, STEPS)).astype(np.int32)
    known = predict(network, {"given": tokens})
    assert has_cache(network)
    export_cached(network, tmp_path / "cached.onnx")
    check_model("onnx", tmp_path / "cached.onnx", None)
    model = load_cached(tmp_path / "cached.onnx", threads=1).model
    assert model.parts == ((2, 8),) * 4 and model.vocabulary == 3
    np.testing.assert_allclose(PrefixReader(model, pieces)({"prefix": tokens}), known, atol=1e-5)
    assert known.std() > 0.1


def test_another_family_has_none(tmp_path: Path) -> None:
    model = built("char_lm", PREFIX)
    assert not has_cache(model)
    with pytest.raises(ExportError, match="no ONNX form with a cache"):
        export_cached(model, tmp_path / "cached.onnx")
    assert not (tmp_path / "cached.onnx").exists()
