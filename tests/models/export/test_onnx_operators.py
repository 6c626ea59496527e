"""What the converter alone makes something else of, or leaves out without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from tidegate.models.errors import ExportError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.networks.predict import predict

ops, layers = keras.ops, keras.layers
NUMBERS = np.array([[0.0, -0.0, 1e-7, -1e-7], [5.0, -5.0, 100.0, -100.0]], np.float32)


def same(model: Any, rows: np.ndarray, folder: Path, atol: float = 1e-6) -> None:
    export_onnx(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    for some in (rows, rows[:1]):
        (answers,) = session.run(None, {"x": some})
        np.testing.assert_allclose(answers, predict(model, {"x": some}), rtol=1e-5, atol=atol)


def of(function: Any, shape: tuple[int | None, ...]) -> Any:
    x = keras.Input(shape, name="x")
    return keras.Model({"x": x}, function(x))


def test_a_value_that_is_not_chosen_may_be_infinite_or_no_number(tmp_path: Path) -> None:
    def chosen(x: Any) -> Any:
        return ops.concatenate(
            [
                ops.where(ops.greater(x, 0), ops.log(x), 0.0),
                ops.where(ops.less(x, 0), x, ops.exp(x)),
                ops.sinc(x),
                ops.cast(ops.where(ops.greater(x, 0), ops.less(x, 1), ops.less(x, -1)), "float32"),
            ]
        )

    same(of(chosen, (4,)), NUMBERS, tmp_path)


def test_logarithms_of_sums_of_exponentials(tmp_path: Path) -> None:
    same(of(lambda x: ops.logaddexp(x, ops.flip(x, 1)), (4,)), NUMBERS, tmp_path)


@pytest.mark.parametrize("boundaries", [[0.0], [-100.0, -5.0, 1e-7, 5.0]])
def test_a_boundary_belongs_to_the_bin_above_it(boundaries: list[float], tmp_path: Path) -> None:
    rows = np.concatenate([NUMBERS, np.full((1, 4), np.nan, np.float32)])
    same(of(layers.Discretization(bin_boundaries=boundaries), (4,)), rows, tmp_path)
    same(of(lambda x: ops.digitize(ops.cast(x, "int32"), np.array(boundaries)), (4,)), NUMBERS, tmp_path)


@pytest.mark.parametrize(("before", "after"), [(6, 10), (11, 13), (28, 2), (14, 23), (9, 1), (5, 5)])
@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_an_image_is_resized_to_the_size_and_the_pixels_of_keras(
    before: int, after: int, how: str, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).normal(size=(2, before, 7, 2)).astype(np.float32)
    same(of(layers.Resizing(after, 9, interpolation=how), (before, 7, 2)), rows, tmp_path, 5e-6)


def test_whole_numbers_are_resized_too(tmp_path: Path) -> None:
    x = keras.Input((6, 7, 1), name="x", dtype="uint8")
    model = keras.Model({"x": x}, ops.image.resize(x, (4, 5), interpolation="bicubic"))
    rows = np.random.default_rng(1).integers(0, 256, (2, 6, 7, 1)).astype(np.uint8)
    same(model, rows, tmp_path, 1e-4)


def test_images_of_any_size_are_refused_where_the_weights_follow_from_it(tmp_path: Path) -> None:
    model = of(layers.Resizing(4, 5, interpolation="area", name="smaller"), (None, None, 1))
    with pytest.raises(
        ExportError, match=r"the layer 'smaller' \(Resizing\) needs ResizeArea, images of any size"
    ):
        export_onnx(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("shape", [(32,), (2, 30)])
def test_a_fourier_transform_is_read_by_its_parts(shape: tuple[int, ...], tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    same(of(lambda x: ops.concatenate(ops.rfft(x), -1), shape), rows, tmp_path, 1e-5)
    same(of(lambda x: ops.rfft(x, 40)[1], shape), rows, tmp_path, 1e-5)
    turned = of(layers.Lambda(lambda x: tf.math.real(tf.math.conj(tf.signal.rfft(x))), name="turned"), shape)
    with pytest.raises(
        ExportError, match=r"'turned' \(Lambda\) needs RFFT, a Fourier transform goes to Conj; expec"
    ):
        export_onnx(turned, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_the_layer_of_a_nested_model_is_named(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Lambda(ops.erfinv, name="odd")], name="inner")
    with pytest.raises(
        ExportError, match=r"the layer 'odd' \(Lambda\) needs Erfinv, which ONNX does not have"
    ):
        export_onnx(of(inner, (4,)), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_text_is_refused_by_the_name_of_its_input(tmp_path: Path) -> None:
    x = keras.Input((1,), name="x", dtype="string")
    model = keras.Model({"x": x}, layers.TextVectorization(vocabulary=["a", "b"])(x))
    with pytest.raises(ExportError, match="the input 'x' is text as it is"):
        export_onnx(model, tmp_path / "model.onnx")


def test_a_mask_reaches_the_steps_of_a_free_number(tmp_path: Path) -> None:
    class Kept(layers.Layer):
        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return inputs if mask is None else inputs * ops.cast(mask, "float32")[:, None]

    def steps(x: Any) -> Any:
        return layers.TimeDistributed(Kept())(layers.Masking()(x))

    rows = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    rows[0, 1] = 0
    same(of(steps, (None, 4)), rows, tmp_path)
