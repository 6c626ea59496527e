"""The U-Net: an answer for each pixel of an image of any size, alike in its ONNX file, however maps grow again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec

SMALL = {"filters": 2, "depth": 2, "convolutions": 1}


def built(size: tuple[int, int], shape: tuple[int, ...] | None = None, **options: Any) -> Any:
    specs = {"image": InputSpec((*size, 3), "float32", "image")}
    outputs = Outputs(3, "softmax", shape=size if shape is None else shape)
    return build_model({"family": "unet", **SMALL, **options}, specs, outputs, 1)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
def test_an_image_of_any_size_is_answered_pixel_by_pixel_alike_when_exported(
    upsampling: str, tmp_path: Path
) -> None:
    """7 and 10 cannot be halved twice: the model pads them, and cuts its answer."""
    model = built((7, 10), upsampling=upsampling, dropout=0.2)
    rows = {"image": np.random.default_rng(0).random((3, 7, 10, 3), np.float32)}
    answers = predict(model, rows)
    assert answers.shape == (3, 7, 10, 3)
    np.testing.assert_allclose(answers.sum(axis=-1), 1, atol=1e-6)
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, rows)[0], answers, atol=2e-6)


def test_a_pixel_is_answered_in_its_place() -> None:
    """What is changed in a corner is seen there, and not at the other end of a larger image."""
    model = built((33, 35), depth=1, batch_norm=False)
    rows = np.zeros((2, 33, 35, 3), np.float32)
    rows[1, 0, 0] = 1
    apart = np.abs(np.subtract(*predict(model, {"image": rows}))).max(axis=-1)
    assert apart[0, 0] > 0 and apart[8:].max() == apart[:, 8:].max() == 0


def test_masks_may_have_a_channel_of_their_own() -> None:
    assert built((8, 8), (8, 8, 1)).output_shape == (None, 8, 8, 1, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (6, 8)}, r"an image of 8 x 8, and the target has a shape of 6 x 8; expected a mask"),
        ({"depth": 4}, r"'model.depth' is 4, and an image of 8 x 8 can be halved 3 times"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        built((8, 8), **options)


def test_a_class_a_row_is_not_its_task() -> None:
    specs = {"image": InputSpec((8, 8, 3), "float32", "image")}
    with pytest.raises(
        OptionsError, match="'unet' answers a class at each pixel of an image, and the target"
    ):
        build_model({"family": "unet"}, specs, Outputs(3, "softmax"), 1)
    both = {**specs, "more": InputSpec((4,), "float32", "numeric")}
    with pytest.raises(OptionsError, match="the inputs image, more; expected one image"):
        build_model({"family": "unet"}, both, Outputs(3, "softmax", shape=(8, 8)), 1)
