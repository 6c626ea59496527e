"""Every public layer of Keras is exported as the table says."""

from __future__ import annotations

import inspect
from pathlib import Path

import keras
import pytest

from tests.models.export.every_layer import CLOSE, measured
from tests.models.export.layer_cases import CASES, Case
from tests.models.export.layer_results import INSTEAD, PARTS, results

# Cases in which the converter alone, or ONNX Runtime, is wrong or has nothing.
QUICK = (
    "Conv2D(6, 3, groups=3)",
    "Conv2DTranspose(6, 2, strides=2, output_padding=1)",
    "Conv3D(4, 2, groups=2)",
    "CenterCrop(12, 10)",
    "Discretization(bin_boundaries=[-1.0, 0.0, 2.0])",
    "MelSpectrogram(fft_length=128, sequence_stride=64, num_mel_bins=16)",
    "Resizing(5, 12, interpolation='area')",
    "Resizing(5, 12, interpolation='bicubic')",
    "Resizing(5, 12, antialias=True)",
    "UpSampling2D((2, 3), interpolation='bicubic')",
)
FREE = Case("TimeDistributed(keras.layers.Conv2D(3, 2))", (None, 6, 7, 2))


def test_the_table_has_every_public_layer_of_keras() -> None:
    public = {one for one in vars(keras.layers).values() if inspect.isclass(one)}
    named = {case.name for case in CASES} | set(PARTS)
    assert {getattr(keras.layers, name) for name in named} == public
    assert len(named) == len(public) and not {case.name for case in CASES} & set(PARTS)
    assert [result.layer for result in results()] == [case.layer for case in CASES]


def test_what_has_no_onnx_form_has_another_one() -> None:
    lacking = {result.layer.partition("(")[0] for result in results() if result.difference is None}
    assert lacking == set(INSTEAD)


@pytest.mark.parametrize("layer", QUICK)
def test_a_layer_is_exported_and_answers_as_keras_does(layer: str, tmp_path: Path) -> None:
    (case, *_) = [case for case in CASES if case.layer == layer]
    found = measured(case, tmp_path)
    assert found.difference is not None and found.difference < 1e-6, found.reason


def test_a_layer_of_a_free_number_of_steps_is_exported(tmp_path: Path) -> None:
    found = measured(FREE, tmp_path)
    assert found.difference is not None and found.difference < 1e-6, found.reason


@pytest.mark.slow  # some 200 models are traced
@pytest.mark.parametrize("place", range(len(CASES)), ids=[case.layer for case in CASES])
def test_every_layer_is_exported_as_the_table_says(place: int, tmp_path: Path) -> None:
    told, found = results()[place], measured(CASES[place], tmp_path)
    assert found.reason == told.reason
    assert found.difference is None or found.difference < CLOSE
