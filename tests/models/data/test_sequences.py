"""Sequences of any length: as a column, as a model input, and what of them is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.models.data.columns import Columns, load_columns, save_columns
from tidegate.models.data.sequences import lengths, padded, without_padding
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

ROWS = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((1, 2)), np.full((4, 2), -2.0)]


def columns() -> Columns:
    return {"frames": padded(ROWS), "y": np.array([0, 1, 0])}


def learned(given: Columns) -> Transforms:
    schema = infer_schema(given, [{"name": "frames", "kind": "sequence"}], ["y"], None)
    return Transforms.fit(schema, given)


def test_padding_is_put_on_and_taken_off() -> None:
    column = padded(ROWS)
    assert column.shape == (3, 4, 2) and lengths(column).tolist() == [3, 1, 4]
    for row, whole in zip(column, ROWS, strict=True):
        np.testing.assert_array_equal(without_padding(row), whole)


def test_a_missing_number_inside_does_not_end_a_sequence(tmp_path: Any) -> None:
    column = padded([np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, 3.0]])])
    assert lengths(column).tolist() == [3]
    save_columns(tmp_path / "kept.npz", {"x": column})
    np.testing.assert_array_equal(load_columns(tmp_path / "kept.npz")["x"], column)


def test_each_feature_is_standardised_over_the_steps_that_exist() -> None:
    given = columns()
    transforms = learned(given)
    (spec,) = transforms.input_specs.values()
    assert (spec.shape, spec.kind) == ((4, 3), "sequence")
    encoded = transforms.apply(given)["frames"]
    np.testing.assert_array_equal(encoded[:, :, 2].sum(axis=1), [3, 1, 4])
    there = encoded[encoded[:, :, 2] == 1][:, :2]
    np.testing.assert_allclose([there.mean(axis=0), there.std(axis=0)], [[0, 0], [1, 1]], atol=1e-6)
    assert not encoded[encoded[:, :, 2] == 0].any()


def test_the_encoder_is_data() -> None:
    given = columns()
    transforms = learned(given)
    again = Transforms.from_dict(transforms.to_dict())
    np.testing.assert_array_equal(again.apply(given)["frames"], transforms.apply(given)["frames"])


def test_one_number_a_step() -> None:
    given = {"frames": padded([np.array([1.0, 2]), np.array([3.0])]), "y": np.array([0, 1])}
    encoded = learned(given).apply(given)["frames"]
    assert encoded.shape == (2, 2, 2) and encoded[1, 1].tolist() == [0, 0]


@pytest.mark.parametrize(
    "column", [np.arange(3), np.zeros((3, 2), np.int64), np.array(["a", "b", "c"], object)], ids=str
)
def test_what_is_no_sequence_is_told(column: np.ndarray) -> None:
    with pytest.raises(SchemaError, match=r"has kind sequence and holds .*; expected float rows of shape"):
        infer_schema({"x": column, "y": np.arange(3)}, [{"name": "x", "kind": "sequence"}], ["y"], None)


def test_length_and_vocabulary_are_of_texts_only() -> None:
    with pytest.raises(
        SchemaError,
        match=r"'frames' is sequence and has length; expected them only for ids or text or tokens",
    ):
        infer_schema(columns(), [{"name": "frames", "kind": "sequence", "length": 3}], ["y"], None)


def test_a_text_is_cut_and_unseen_tokens_are_one() -> None:
    texts = {"t": np.array(["a b a", "a c", "b a d e"], object), "y": np.array([0, 1, 0])}
    entry = {"name": "t", "kind": "text", "length": 3, "vocabulary": 2}
    transforms = Transforms.fit(infer_schema(texts, [entry], ["y"], None), texts)
    asked = {"t": np.array(["a zebra b a", None, "", "a " * 500_000], object)}
    assert transforms.apply(asked)["t"].tolist() == [[2, 1, 3], [0, 0, 0], [0, 0, 0], [2, 2, 2]]
    entry = {"name": "t", "kind": "text", "tokens": "characters", "length": 5}
    letters = Transforms.fit(infer_schema(texts, [entry], ["y"], None), texts)
    assert letters.apply({"t": np.array(["ab z"], object)})["t"].tolist() == [[3, 4, 2, 1, 0]]
