"""What goes through a codec comes out as it went in, for every dtype and shape, in each dialect."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.tensors import DTYPES, datatype_of, from_bytes, to_bytes
from tidegate.serving.dialects import Dialect, ServedModel, make_dialects
from tidegate.serving.errors import ContractError
from tidegate.serving.http.json_body import encode

NUMBERS = (
    "bool",
    *(f"{kind}{size}" for kind in ("uint", "int") for size in (8, 16, 32, 64)),
    *(f"float{size}" for size in (16, 32, 64)),
)
TEXT = some.text(some.characters(codec="utf-8"), max_size=12)


def _served(dtype: str, shape: tuple[int, ...], classes: int = 3) -> ServedModel:
    kind = "text" if dtype == "str" else "numeric"
    field = Field.model_validate({"name": "x", "kind": kind, "dtype": dtype, "shape": shape})
    target = Target(names=("y",), task="classification", classes=tuple(f"c{n}" for n in range(classes)))
    return ServedModel("model", 1, Contract.of(Schema(inputs=(field,), target=target), {}))


def _elements(dtype: str) -> Any:
    if dtype.startswith("float"):
        return some.floats(-1e4, 1e4, width=int(dtype[5:]))
    return None


@some.composite
def columns(draw: Any) -> NDArray[Any]:
    """A column of any number dtype: 1 to 4 rows of any small shape."""
    dtype = draw(some.sampled_from(NUMBERS))
    shape = (draw(some.integers(1, 4)), *draw(some.lists(some.integers(1, 3), max_size=3)))
    return draw(arrays.arrays(dtype, shape, elements=_elements(dtype)))


def _read(dialect: Dialect, body: bytes, **headers: bytes) -> NDArray[Any]:
    reading = dialect.read(body, {name.replace("_", "-").encode(): value for name, value in headers.items()})
    return np.asarray(reading.columns["x"])


def _bodies(column: NDArray[Any]) -> list[tuple[str, bytes, dict[str, bytes]]]:
    """The column as a request in every form of every dialect."""
    datatype, rows = datatype_of(column.dtype.name), column.tolist()
    tensor: dict[str, Any] = {"name": "x", "shape": column.shape, "datatype": datatype}
    raw = to_bytes(column)
    head = encode({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]})
    forms: list[tuple[str, Any]] = [
        ("predict", {"rows": rows}),
        ("predict", {"rows": [{"x": row} for row in rows]}),
        ("tfserving", {"instances": rows}),
        ("tfserving", {"inputs": rows}),
        ("tfserving", {"inputs": {"x": rows}}),
        ("v2", {"inputs": [{**tensor, "data": rows}]}),
        ("v2", {"inputs": [{**tensor, "data": column.ravel().tolist()}]}),
    ]
    plain: list[tuple[str, bytes, dict[str, bytes]]] = [(name, encode(form), {}) for name, form in forms]
    length = {"inference_header_content_length": str(len(head)).encode()}
    return [*plain, ("v2", head + raw, length)]


@settings(deadline=None, max_examples=150)
@given(columns())
def test_a_column_arrives_as_it_was_sent(column: NDArray[Any]) -> None:
    dialects = make_dialects(_served(column.dtype.name, column.shape[1:]))
    for name, body, headers in _bodies(column):
        read = _read(dialects[name], body, **headers)
        assert read.dtype == column.dtype
        np.testing.assert_array_equal(read, column)


@settings(deadline=None, max_examples=80)
@given(some.lists(TEXT, min_size=1, max_size=4))
def test_texts_arrive_as_they_were_sent(texts: list[str]) -> None:
    column = np.array(texts, object)
    dialects = make_dialects(_served("str", ()))
    raw = to_bytes(column)
    tensor = {"name": "x", "shape": [len(texts)], "datatype": "BYTES"}
    head = encode({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]})
    length = str(len(head)).encode()
    assert _read(dialects["v2"], head + raw, inference_header_content_length=length).tolist() == texts
    assert _read(dialects["v2"], encode({"inputs": [{**tensor, "data": texts}]})).tolist() == texts
    assert _read(dialects["tfserving"], encode({"instances": texts})).tolist() == texts
    assert _read(dialects["predict"], encode({"rows": texts})).tolist() == texts


@settings(deadline=None, max_examples=80)
@given(
    arrays.arrays(
        np.float32, some.tuples(some.integers(1, 20), some.just(3)), elements=some.floats(0, 1, width=32)
    )
)
def test_predictions_arrive_as_they_were_made(values: NDArray[np.float32]) -> None:
    served = _served("float32", ())
    dialects = make_dialects(served)
    rows = len(values)
    read = {
        name: dialects[name].read(body, {})
        for name, body in (
            ("predict", encode({"rows": [1.0] * rows})),
            ("tfserving", encode({"instances": [1.0] * rows})),
            (
                "v2",
                encode(
                    {"inputs": [{"name": "x", "shape": [rows], "datatype": "FP32", "data": [1.0] * rows}]}
                ),
            ),
        )
    }
    answers = {name: json.loads(dialects[name].write(values, read[name]).body) for name in read}
    best = [f"c{place}" for place in values.argmax(axis=1)]
    assert [row["label"] for row in answers["predict"]["predictions"]] == best
    found = [row["probabilities"] for row in answers["predict"]["predictions"]]
    for listed in (found, answers["tfserving"]["predictions"]):
        np.testing.assert_array_equal(np.array(listed, np.float32), values)
    first, second = answers["v2"]["outputs"]
    np.testing.assert_array_equal(np.array(first["data"], np.float32).reshape(first["shape"]), values)
    assert second["data"] == best


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.float32, some.integers(1, 9), elements=some.floats(-1e4, 1e4, width=32)))
def test_half_floats_are_widened(values: NDArray[np.float32]) -> None:
    dialect = make_dialects(_served("float32", ()))["v2"]
    halves = values.astype(np.float16)
    brains = (values.view(np.uint32) >> 16).astype(np.uint16)
    for datatype, raw, expected in (
        ("FP16", halves.tobytes(), halves.astype(np.float32)),
        ("BF16", brains.tobytes(), (brains.astype(np.uint32) << 16).view(np.float32)),
    ):
        tensor = {"name": "x", "shape": [len(values)], "datatype": datatype}
        head = encode({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]})
        read = _read(dialect, head + raw, inference_header_content_length=str(len(head)).encode())
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("datatype", [*DTYPES, "BYTES"])
@settings(deadline=None, max_examples=40)
@given(raw=some.binary(max_size=40), count=some.integers(0, 6))
def test_any_bytes_are_read_or_refused(datatype: str, raw: bytes, count: int) -> None:
    try:
        read = from_bytes("x", datatype, count, memoryview(raw))
    except ContractError as error:
        assert error.field == "x"
    else:
        assert len(read) == count


@settings(deadline=None, max_examples=150)
@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | TEXT,
        lambda inner: (
            some.lists(inner, max_size=3)
            | some.dictionaries(
                some.sampled_from(["rows", "instances", "inputs", "x", "name", "shape", "b64"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(content: Any) -> None:
    body = json.dumps(content).encode()
    for dtype, shape in (("float32", (2,)), ("int8", ()), ("str", ())):
        for dialect in make_dialects(_served(dtype, shape)).values():
            try:
                dialect.read(body, {})
            except ContractError as error:
                assert error.fix
