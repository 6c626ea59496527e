"""Rows that are read quickly are the same, to the bit, as rows that are read column by column."""

import json
import random

import numpy as np
import pytest

from tidegate.models.data.columns import RowColumns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.dialects.v2_request import InputReader
from tidegate.serving.errors import ContractError

TARGET = Target(names=("price",), task="regression")
NUMBERS = {"whole": "int64", "small": "int8", "tiny": "uint8", "wide": "float64", "narrow": "float32"}
WIDE = 2**63 - 1
PLAIN = {
    "whole": [0, -3, WIDE, -WIDE - 1, 2**53 + 1],
    "small": [0, 127, -128],
    "tiny": [0, 255],
    "wide": [0.1, -2.5, 1e15, 5e-324, 7, 2**53, -0.0],
    "narrow": [0.1, 1.5, 1e15, 1e-45, 16_777_217, -4],
    "font": ["serif", "sans", "unknown", ""],
}
ODD = {
    "whole": [None, 3.0, 0.5, True, "3", 2**63, [1], float("nan")],
    "small": [128, None, 2.0],
    "tiny": [-1, 256, False],
    "wide": [1e300, None, float("nan"), float("inf"), 2**53 + 1, 10**400, "1", True, [0.5]],
    "narrow": [3.4e38, 1e39, None, 2**60 + 1, -float("inf"), {}],
    "font": [None, 3, ["serif"]],
}


def make(names: list[str], nullable: bool | None = None) -> Contract:
    fields = [
        Field(name=name, kind="categorical", dtype="str")
        if name == "font"
        else Field(name=name, kind="numeric", dtype=NUMBERS[name], nullable=nullable)
        for name in names
    ]
    return Contract.of(Schema(inputs=tuple(fields), target=TARGET), {"font": ["sans", "serif"]})


def slowly(reader: RequestReader) -> RequestReader:
    reader._row_reader = None
    return reader


def outcome(read, *given):
    """Columns as bytes, or the whole error."""
    try:
        found = read(*given)
    except ContractError as error:
        return error.detail()
    columns = found[0] if isinstance(found, tuple) else found
    return [
        (
            name,
            str(column.dtype),
            column.shape,
            column.tolist() if column.dtype == object else column.tobytes(),
        )
        for name, column in columns.items()
    ]


@pytest.mark.parametrize("names", [list(NUMBERS), ["whole", "small"], ["wide", "font", "narrow", "whole"]])
@pytest.mark.parametrize("nullable", [None, False])
def test_rows_are_what_columns_are(names, nullable) -> None:
    draw = random.Random(0)
    contract = make(names, nullable)
    quick, slow = RequestReader(contract), slowly(RequestReader(contract))
    taken = 0
    for number in range(600):
        rows = [{name: draw.choice(PLAIN[name]) for name in names} for _ in range(draw.choice([1, 1, 2, 7]))]
        if number % 2:
            name = draw.choice(names)
            draw.choice(rows)[name] = draw.choice(ODD[name])
        if number % 20 == 1:
            draw.choice(rows).pop(draw.choice(names))
        if number % 20 == 11:
            draw.choice(rows)["more"] = 1
        expected = outcome(slow.parse_rows, rows)
        assert outcome(quick.parse_rows, rows) == expected
        taken += quick._row_reader is not None and quick._row_reader.of_objects(rows) is not None
        if number % 2 == 0:
            assert quick._row_reader is not None and quick._row_reader.of_objects(rows) is not None
    assert 300 <= taken < 600


def tensors(row: dict, binary: bool) -> tuple[dict, memoryview]:
    listed, tail = [], b""
    for name, value in row.items():
        kind = "BYTES" if name == "font" else {"float64": "FP64", "float32": "FP32"}.get(NUMBERS[name])
        tensor = {"name": name, "datatype": kind or NUMBERS[name].upper(), "shape": [1]}
        if binary:
            raw = np.array([value], NUMBERS[name]).tobytes()
            listed.append({**tensor, "parameters": {"binary_data_size": len(raw)}})
            tail += raw
        else:
            listed.append({**tensor, "data": [value]})
    return {"inputs": listed}, memoryview(tail)


SPOIL = {
    "shape": [[2], [True], [1, 1], [1, 2], [], 1, None],
    "datatype": ["FP32", "BYTES", "INT64", "FP16", "WORDS", ["INT64"], None],
    "data": [[], 1, [[1]], [1, 2], None],
    "parameters": [{}, {"binary_data_size": 8}, {"binary_data_size": 8.0}, {"binary_data_size": 1}, None, 3],
    "name": ["whole", "nothing", None, 3, ["whole"]],
    "more": [1],
}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("names", [list(NUMBERS), ["whole", "small"], ["wide", "font", "narrow"]])
def test_tensors_are_what_columns_are(names, binary) -> None:
    names = [name for name in names if not (binary and name == "font")]
    draw = random.Random(1)
    contract = make(names)
    quick, slow = InputReader(contract), InputReader(contract)
    slow._row_reader = None
    taken = 0
    for number in range(600):
        row = {name: draw.choice(PLAIN[name]) for name in draw.sample(names, len(names))}
        if number % 3 == 1 and not binary:
            name = draw.choice(names)
            row[name] = draw.choice(ODD[name])
        content, tail = tensors(row, binary)
        if number % 3 == 2:
            key = draw.choice(list(SPOIL))
            draw.choice(content["inputs"])[key] = draw.choice(SPOIL[key])
        if number % 30 == 5:
            content["inputs"].pop()
        found = outcome(quick.read, content, tail)
        expected = outcome(slow.read, content, tail)
        assert (sorted(found), len(found)) == (sorted(expected), len(expected))
        if isinstance(expected, dict):
            assert found == expected
        plain = quick._row_reader is not None and quick._row_reader.of_tensors(content["inputs"], tail)
        taken += plain is not None
        if number % 3 == 0:
            assert plain is not None
    assert 200 <= taken < 600


@pytest.mark.parametrize("names", [list(NUMBERS), ["wide", "font", "whole"]])
@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
def test_one_row_is_encoded_to_the_same_bits(names, scale) -> None:
    random_ = np.random.default_rng(0)
    columns = {
        name: np.array(["serif", "sans"] * 50, object)
        if name == "font"
        else (random_.normal(size=100) * 40).astype(NUMBERS[name])
        if "float" in NUMBERS[name]
        else random_.integers(0, 100, 100).astype(NUMBERS[name])
        for name in names
    }
    fields = tuple(
        field if field.dtype == "str" else field.model_copy(update={"scale": scale})
        for field in make(names).schema_.inputs
    )
    transforms = Transforms.fit(Schema(inputs=fields, target=TARGET), columns)
    reader = RequestReader(make(names))
    draw, limited = random.Random(2), 0
    for _ in range(300):
        row = {name: draw.choice(PLAIN[name]) for name in names}
        read = reader.parse_rows([json.loads(json.dumps(row))])
        assert type(read) is RowColumns
        quick, plain = transforms.apply(read)["features"], transforms.apply(dict(read))["features"]
        assert (quick.dtype, quick.shape, quick.tobytes()) == (plain.dtype, plain.shape, plain.tobytes())
        limited += bool((np.abs(plain) >= 1e6).any())
    assert 0 < limited < 300


def test_columns_of_a_row_can_be_changed() -> None:
    """A transform of the user's own may do that."""
    read = RequestReader(make(["whole", "small"])).parse_rows([{"whole": 3, "small": 4}])
    read["whole"] -= 1
    assert (read["whole"].tolist(), read["small"].tolist()) == ([2], [4])
