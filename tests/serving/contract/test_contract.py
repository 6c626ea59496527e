"""Rows in, predictions out: what is cast, what is refused, and in which words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.contract.casting import cast_column
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.errors import ContractError
from tidegate.serving.http.json_body import decode

GOOD = {"age": 31.5, "rooms": 2, "city": "Oslo"}
IMAGE = [[0] * 8 for _ in range(8)]


@pytest.fixture(scope="module")
def homes(mixed: Path) -> Contract:
    return open_bundle(mixed).contract


@pytest.fixture(scope="module")
def digits(images: Path) -> Contract:
    return open_bundle(images).contract


def _single(dtype: str, shape: tuple[int, ...] = (), kind: str = "numeric") -> Contract:
    field = Field.model_validate({"name": "x", "kind": kind, "dtype": dtype, "shape": shape})
    target = Target(names=("y",), task="regression")
    return Contract.of(Schema(inputs=(field,), target=target), {"x": ["7", "red"]})


def test_rows_become_columns_in_the_fields_own_dtypes(homes: Contract) -> None:
    columns = RequestReader(homes).parse_rows([GOOD, {"age": 1, "rooms": 3.0, "city": "Paris"}])
    assert columns["age"].dtype == np.float64
    assert columns["age"].tolist() == [31.5, 1.0]
    assert columns["rooms"].dtype == np.int64
    assert columns["rooms"].tolist() == [2, 3]
    assert columns["city"].tolist() == ["Oslo", "Paris"]


def test_null_is_a_missing_value(homes: Contract) -> None:
    columns = RequestReader(homes).parse_rows([{"age": None, "rooms": None, "city": None}, GOOD])
    assert np.isnan(columns["age"][0])
    assert np.isnan(columns["rooms"][0])
    assert columns["rooms"][1] == 2
    assert columns["city"][0] is None


@pytest.mark.parametrize(
    ("contract", "row", "value"),
    [
        (_single("float32"), 1, 1.0),
        (_single("float32"), {"x": 0.5}, 0.5),
        (_single("float32", (2,)), [1, 2.5], [1.0, 2.5]),
        (_single("uint8", (2, 1)), [[255], [0.0]], [[255], [0]]),
        (_single("uint8", (2,)), [True, 5], [1, 5]),
        (_single("float64", (2,)), [10**30, 1], [1e30, 1.0]),
        (_single("int64"), 9007199254740993, 9007199254740993),
        (_single("bool"), True, True),
        (_single("bool"), 0, False),
        (_single("str", kind="text"), "two words", "two words"),
        (_single("str", kind="categorical"), 7, "7"),
        (_single("str", kind="categorical"), "blue", "blue"),
    ],
)
def test_one_input_takes_a_bare_value(contract: Contract, row: Any, value: Any) -> None:
    assert RequestReader(contract).parse_rows([row])["x"].tolist() == [value]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_what_rounds_to_a_finite_number_is_taken(shape: tuple[int, ...]) -> None:
    contract, largest = _single("float32", shape), float(np.finfo(np.float32).max)
    edge = 2.0**128 - 2.0**103  # from here on it rounds to infinity
    below, over = (value if shape == () else [value] for value in (np.nextafter(edge, 0).item(), edge))
    assert RequestReader(contract).parse_rows([below])["x"].ravel().tolist() == [largest]
    with pytest.raises(ContractError, match="float32"):
        RequestReader(contract).parse_rows([over])


BAD_HOMES = [
    ({"age": "31"}, "age", "without quotes"),
    ({"age": True}, "age", "the boolean true"),
    ({"age": [1]}, "age", "an array of shape [1]"),
    ({"age": float("nan")}, "age", "NaN"),
    ({"age": float("inf")}, "age", "Infinity"),
    ({"rooms": 2.5}, "rooms", "a whole number"),
    ({"rooms": 2**63}, "rooms", "9223372036854775807"),
    ({"rooms": 2**70}, "rooms", "a whole number"),
    ({"rooms": 1e300}, "rooms", "a whole number"),
    ({"city": 5}, "city", '"Oslo", "Rome"'),
    ({"city": ["Oslo"]}, "city", "quoted string"),
    ({"extra": 1}, "extra", "remove it"),
]


@pytest.mark.parametrize(("change", "field", "words"), BAD_HOMES)
def test_the_culprit_is_named(homes: Contract, change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ContractError) as caught:
        RequestReader(homes).parse_rows([GOOD, {**GOOD, **change}])
    assert caught.value.field == field
    assert caught.value.row == 1
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["ids", "tokens"])
@pytest.mark.parametrize(
    ("item", "words"),
    [
        (None, "null"),
        (1.5, "the number 1.5"),
        (True, "the boolean true"),
        ({"a": 1}, "an object with the keys"),
    ],
)
def test_what_no_list_may_hold_is_named(kind: str, item: Any, words: str) -> None:
    reader = RequestReader(_single("str", kind=kind))
    with pytest.raises(ContractError, match=rf"received an array that holds {words}.*leave out that element"):
        reader.parse_rows([{"x": ["red", 7]}, {"x": ["red", item]}])
    with pytest.raises(ContractError, match=r"array of shape \[1, 1\].*one flat array per row"):
        reader.parse_rows([{"x": [["red"]]}])
    with pytest.raises(ContractError, match=r"received the text.*one flat array per row"):
        reader.parse_rows([{"x": '["red", null]'}])


def test_a_missing_field_and_a_misspelt_one(homes: Contract) -> None:
    with pytest.raises(ContractError, match="'age' of row 0: received no such field") as caught:
        RequestReader(homes).parse_rows([{"rooms": 1, "city": "Oslo"}])
    assert caught.value.field == "age"
    with pytest.raises(ContractError, match="expected the field 'rooms'; rename it") as caught:
        RequestReader(homes).parse_rows([{"age": 1, "room": 1, "city": "Oslo"}])
    assert caught.value.field == "room"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (IMAGE[:7], "an array of shape [7, 8]"),
        ([*IMAGE[:7], [0] * 7], "rows of different lengths"),
        ([0] * 64, "an array of shape [64]"),
        ([*IMAGE[:7], [0] * 7 + [None]], "holds null"),
        ([*IMAGE[:7], [0] * 7 + ["1"]], "holds the text"),
        ([*IMAGE[:7], [0] * 7 + [256]], "from 0 to 255"),
        ([*IMAGE[:7], [0] * 7 + [-1]], "holds the number -1"),
        ([*IMAGE[:7], [0] * 7 + [0.5]], "holds the number 0.5"),
        ([*IMAGE[:7], [0] * 7 + [float("nan")]], "holds NaN"),
        (3, "the number 3"),
        (None, "null"),
        ("image", "the text"),
    ],
)
def test_an_image_of_another_shape_or_type(digits: Contract, row: Any, words: str) -> None:
    with pytest.raises(ContractError) as caught:
        RequestReader(digits).parse_rows([IMAGE, row])
    assert (caught.value.field, caught.value.row) == ("image", 1)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        3,
        {"row": []},
        {"rows": []},
        {"rows": {}},
        {"rows": "x"},
        {"rows": [[1], {}]},
        {"rows": [1]},
    ],
)
def test_a_request_that_is_no_rows(homes: Contract, body: Any) -> None:
    with pytest.raises(ContractError) as caught:
        RequestReader(homes).parse_request(body)
    assert caught.value.field == "rows"


def test_several_inputs_need_names(homes: Contract) -> None:
    with pytest.raises(ContractError, match="an object with the fields age, rooms, city"):
        RequestReader(homes).parse_rows([[1, 2, "Oslo"]])


def test_decode_reads_nan_and_refuses_what_is_not_json() -> None:
    assert np.isnan(decode(b'{"rows": [NaN]}')["rows"][0])
    for body in (b"", b"{", b"\xff\xfe", b"rows", b"[" * 100_000):
        with pytest.raises(ContractError, match="JSON"):
            decode(body)


def test_predictions_of_classes_and_of_numbers(homes: Contract) -> None:
    answers = homes.predictions(np.array([[0.25, 0.75]], np.float32))
    assert answers == [{"label": "yes", "probability": 0.75, "probabilities": [0.25, 0.75]}]
    assert _single("float32").predictions(np.array([[1.5], [2.0]], np.float32)) == [1.5, 2.0]
    assert _single("float32").predictions(np.array([[1.5, 2.0]], np.float32)) == [[1.5, 2.0]]


def test_the_contract_reads_itself_back(homes: Contract) -> None:
    content = json.loads(homes.model_dump_json())
    assert Contract.model_validate(content) == homes
    assert content["inputs"][2]["categories"] == ["Oslo", "Rome"]
    assert content["classes"] == ["no", "yes"]


def test_an_int64_that_json_made_a_float_is_not_taken_for_its_neighbour() -> None:
    schema = Schema(
        inputs=(Field(name="n", kind="numeric", dtype="int64"),),
        target=Target(names=("y",), task="regression"),
    )
    contract = Contract.of(schema, {})
    assert RequestReader(contract).parse_rows([{"n": -(2**63)}])["n"].tolist() == [-(2**63)]
    with pytest.raises(ContractError, match="whole number from -9223372036854775808"):
        RequestReader(contract).parse_rows([{"n": float(-(2**63) - 1)}])


@pytest.mark.parametrize("values", [[0, 2**63 + 1], [2**64 - 1, 5]])
def test_whole_numbers_beyond_float64_keep_every_digit(values: list[int]) -> None:
    """NumPy makes float64 of a list that holds small numbers and some from 2**63 on."""
    field = Field(name="id", kind="numeric", dtype="uint64")
    assert cast_column(field, (), values).tolist() == values
    with pytest.raises(ContractError, match="send one type in all rows"):
        cast_column(field, (), [1.0, 2**63 + 1])


NEVER = [
    Field(name="age", kind="numeric", dtype="int64", nullable=False),
    Field(name="city", kind="categorical", dtype="str", nullable=False),
    Field(name="day", kind="date", dtype="str", format="day_first", nullable=False),
    Field(name="user", kind="id", dtype="str", nullable=False),
]
FULL = {"age": 3, "city": "Ulm", "day": "2025-01-31", "user": "u1"}


def reader_of(*fields: Field) -> RequestReader:
    return RequestReader(
        Contract.of(Schema(inputs=fields, target=Target(names=("y",), task="regression")), {})
    )


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("nullable", [False, True, None])
def test_null_is_taken_only_where_rows_of_the_data_lacked_the_value(name: str, nullable: bool | None) -> None:
    reader = reader_of(*(field.model_copy(update={"nullable": nullable}) for field in NEVER))
    assert len(reader.parse_rows([FULL])["age"]) == 1
    if nullable is not False:
        assert len(reader.parse_rows([FULL, FULL | {name: None}])[name]) == 2
        return
    with pytest.raises(ContractError) as caught:
        reader.parse_rows([FULL, FULL | {name: None}])
    assert caught.value.detail()["field"] == name
    assert caught.value.detail()["row"] == 1
    assert "no row of the data lacked one" in str(caught.value)
    with pytest.raises(ContractError, match="received null"):
        reader.parse_columns({key: [None if key == name else value] for key, value in FULL.items()})


@pytest.mark.parametrize("sent", ["31.01.2025", "2025-01-31", "2025-01-31T18:30:00Z"])
def test_a_date_is_sent_as_in_training_or_in_iso_8601(sent: str) -> None:
    assert reader_of(*NEVER).parse_rows([FULL | {"day": sent}])["day"].tolist() == [sent]


@pytest.mark.parametrize("sent", ["01/31/2025", "soon", "", 20250131])
def test_no_other_text_is_a_date(sent: object) -> None:
    with pytest.raises(ContractError, match=r"'day' of row 0: received .* expected a date as text"):
        reader_of(*NEVER).parse_rows([FULL | {"day": sent}])
