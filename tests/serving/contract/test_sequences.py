"""A sequence of any length in a request: as lists, as tensors, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.contract.tensors import input_specs, tensor_to_column
from tidegate.serving.dataplane.openapi import _field
from tidegate.serving.errors import ContractError
from tidegate.serving.inference.predictor import sample_rows

FIELD = Field(name="frames", kind="sequence", dtype="float32", shape=(4, 2))


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.of(Schema(inputs=(FIELD,), target=Target(names=("y",), task="regression")), {})


def test_rows_of_any_length_become_one_column(contract: Contract) -> None:
    rows = [[[1, 2]], [[1, 2], [3.5, 4], [5, 6], [7, 8]]]
    column = RequestReader(contract).parse_rows(rows)["frames"]
    assert column.shape == (2, 4, 2) and column.dtype == np.float32
    assert np.isnan(column[0, 1:]).all() and np.isfinite(column[1]).all()
    assert sample_rows({"frames": column}) == rows


@pytest.mark.parametrize(
    ("row", "received"),
    [
        ([], "an array of shape [0]"),
        ([[1, 2]] * 5, "an array of shape [5, 2]"),
        ([[1, 2], [3]], "an array with rows of different lengths"),
        ([[1, 2, 3]], "an array of shape [1, 3]"),
        ([[1, None]], "an array that holds null"),
        ([[1, float("nan")]], "an array that holds NaN"),
        (None, "null"),
        ("text", 'the text "text"'),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(contract: Contract, row: Any, received: str) -> None:
    with pytest.raises(ContractError) as caught:
        RequestReader(contract).parse_rows([[[1, 2]], row])
    assert (caught.value.received, caught.value.row) == (received, 1)
    assert caught.value.expected.startswith("an array of 1 to 4 steps, every step an array of shape [2]")


def test_a_tensor_may_have_fewer_steps(contract: Contract) -> None:
    assert input_specs(contract)[0].shape == (-1, 2)
    flat = np.arange(8, dtype=np.float32)
    column = tensor_to_column(FIELD, (), (2, 2, 2), flat)
    np.testing.assert_array_equal(column[:, :2].ravel(), flat)
    assert np.isnan(column[:, 2:]).all()
    np.testing.assert_array_equal(tensor_to_column(FIELD, (), (1, 4, 2), flat)[0].ravel(), flat)
    np.testing.assert_array_equal(
        tensor_to_column(FIELD, (), (1, 3, 2), flat[:6].tolist())[0, :3].ravel(), flat[:6]
    )


@pytest.mark.parametrize("shape", [(1, 5, 2), (1, 0, 2), (1, 2, 3), (2, 2)])
def test_a_tensor_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ContractError, match=r"or fewer steps"):
        tensor_to_column(FIELD, (), shape, np.zeros(int(np.prod(shape)), np.float32))


def test_the_openapi_page_says_how_many_steps(contract: Contract) -> None:
    schema = _field(contract.inputs[0])
    assert (schema["minItems"], schema["maxItems"], schema["items"]["minItems"]) == (1, 4, 2)
