"""The same rows in each format, read in each place: training, rows to predict, and what a client sends."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tidegate.models.data.data_warnings import recorded
from tidegate.models.datasets import load
from tidegate.models.preprocessing.prepare import conformed, prepare
from tidegate.models.preprocessing.reading import read_options
from tidegate.pipelines.batch import open_batch_input
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader

FORMATS = ("csv", "jsonl", "parquet", "npz")
ROWS = 40
LARGE = 1234567890123456789
SERIES = [[1.5, 2.5], [1.0], [3.0, 4.0, 5.5]]

# By name: four values (None: missing), the stated kind, the formats that have such values, and what is told of them.
CASES: dict[str, tuple[list[Any], str | None, Sequence[str], str | None]] = {
    "numbers": ([1.5, -2.0, 1e-3, 1234.5], None, FORMATS, None),
    "numbers and missing ones": ([1.5, None, 1e-3, 1234.5], None, FORMATS, None),
    "whole numbers": ([1, 2, 3, 40], None, FORMATS, None),
    "whole numbers as categories": ([1, 2, 3, 40], "categorical", FORMATS, None),
    "whole numbers and missing ones as categories": ([1, None, 3, 40], "categorical", FORMATS[:3], None),
    "large ids": ([LARGE, LARGE + 1, LARGE + 2, LARGE + 3], "categorical", FORMATS, None),
    "large ids and missing ones": ([LARGE, LARGE + 1, None, LARGE + 3], "categorical", FORMATS[:3], None),
    "large ids, no kind stated": ([LARGE, LARGE + 1, None, LARGE + 3], None, FORMATS[:3], "would lose digits"),
    "codes": (["00501", "10001", "501", "00501"], "categorical", FORMATS, None),
    "codes, no kind stated": (["00501", "10001", "501", "00501"], None, ("csv",), "leading zeros"),
    "texts that are numbers": (["1.5", "2.5", "3", "4"], "numeric", ("csv", "parquet", "npz"), None),
    "numbers with commas": (["1,5", "2,5", "3", "4"], "numeric", ("csv", "parquet", "npz"), None),
    "categories": (["a", "b", None, "NA"], None, FORMATS[:3], None),
    "booleans": ([True, False, True, True], None, FORMATS, None),
    "booleans and missing ones": ([True, False, None, True], None, FORMATS[:3], None),
    "booleans as categories": ([True, False, True, True], "categorical", FORMATS, None),
    "booleans as numbers": ([True, False, True, True], "numeric", FORMATS, None),
    "lists": ([[1.5, 2.5], [1.0, 2.0], [3.0, 4.0], [0.0, 1.0]], None, FORMATS[1:], None),
    "lists of their own lengths": ([*SERIES, [9.0]], "sequence", ("jsonl", "parquet"), None),
    "lists of their own lengths, no kind": ([*SERIES, [9.0]], None, ("jsonl", "parquet"), "lists of 1 to 3"),
    "lists padded with null": ([[1.5, None], [1.0, 2.0], [3.0, 4.0], [0.0, 1.0]], "sequence", FORMATS[1:], None),
    "steps of two features": ([[[1, 2.5]], [[1, 2], [3, 4]], [[5, 6]], [[7, 8]]], "sequence", FORMATS[1:3], None),
    "dates": (["2025-01-31", "2025-02-01", "2025-02-01", "2025-03-01"], None, FORMATS, None),
    "dates, the day first, and missing ones": (["31.01.2025", "1.2.2025", None, "2.2.2025"], None, FORMATS[:3], None),
    "dates as whole numbers": ([20250131, 20250201, 20250202, 20250203], "categorical", FORMATS, None),
    "times": (["2025-01-31T18:30", "2025-02-01T07:00Z", None, "2025-02-01T07:00:30"], None, FORMATS[:3], None),
    "ids": ([7, 5, 11, 7], "id", FORMATS, None),
    "ids and missing ones": ([7, None, 11, 7], "id", FORMATS, None),
    "ids that are texts": (["u7", "u5", None, "u7"], "id", FORMATS[:3], None),
    "lists of ids": ([[7, 5], [5, 0], [11, 1], [7, 7]], "id", FORMATS[1:], None),
    "whole numbers that were stated": ([7, None, 11, 7], "integer", FORMATS, None),
}  # fmt: skip
TRIALS = [(name, format) for name, case in CASES.items() for format in case[2]]


def write(path, values):
    """Four values, again and again, and a target that the tests do not look at."""
    column, target = values * (len(values) and ROWS // 4), ["no", "yes"] * (ROWS // 2)
    if path.suffix == ".csv":
        cells = ["" if value is None else f'"{value}"' if "," in str(value) else value for value in column]
        path.write_text("y,x\n" + "".join(f"{y},{x}\n" for y, x in zip(target, cells, strict=True)))
    elif path.suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps({"y": y, "x": x}) + "\n" for y, x in zip(target, column, strict=True))
        )
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"x": column, "y": target}), path)
    else:
        gaps = [
            [np.nan if part is None else part for part in x] if isinstance(x, list) else x for x in column
        ]
        np.savez(path, x=np.array([np.nan if x is None else x for x in gaps]), y=np.array(target))
    return path


def contract_of(prepared):
    return Contract.of(prepared.schema, prepared.transforms.categories)


def rows_to_predict(path, contract):
    with recorded():
        batch = open_batch_input([str(path)], contract.model_dump(mode="json")["inputs"], 1000)
        return [row for chunk in batch.chunks for row in chunk]


@pytest.mark.parametrize(("name", "format"), TRIALS)
def test_training_predict_and_endpoint_read_the_same(tmp_path, name, format):
    values, kind, _, words = CASES[name]
    path, inputs = write(tmp_path / f"d.{format}", values), [{"name": "x", "kind": kind}]
    prepared = prepare(source=path, inputs=inputs, target=["y"])
    told = [sentence for sentence in prepared.summary["warnings"] if words and words in sentence]
    assert bool(told) == bool(words), prepared.summary["warnings"]
    with recorded():
        columns = load(source=path, columns=["x", "y"], options=read_options(inputs, ["y"], None, None))
    learned = prepared.transforms.apply(conformed(prepared.schema, columns))
    assert np.std(next(iter(learned.values()))) > 0
    contract = contract_of(prepared)
    reader = RequestReader(contract)
    for other in CASES[name][2]:
        if other == "jsonl" and isinstance(values[0], str) and kind == "numeric":
            continue  # its rows are sent as they are
        rows = rows_to_predict(write(tmp_path / f"new.{other}", values), contract)
        predicted = prepared.transforms.apply(reader.parse_rows(rows))
        for key, encoded in learned.items():
            np.testing.assert_array_equal(encoded, predicted[key], strict=True)
    if kind is None:  # a client sends a number, a text, true, null or a list as JSON
        sent = json.loads(json.dumps(values))
        answered = prepared.transforms.apply(reader.parse_rows([{"x": value} for value in sent]))
        for key, encoded in learned.items():
            np.testing.assert_array_equal(encoded[:4], answered[key])


@pytest.mark.parametrize(("name", "format"), [trial for trial in TRIALS if trial[1] == "csv"])
def test_a_row_to_predict_does_not_depend_on_the_others(tmp_path, name, format):
    values, kind, *_ = CASES[name]
    path = write(tmp_path / f"d.{format}", values)
    contract = contract_of(prepare(source=path, inputs=[{"name": "x", "kind": kind}], target=["y"]))
    header, *lines = path.read_text().splitlines(True)[:5]
    together = rows_to_predict(path, contract)[:4]
    for line, row in zip(lines, together, strict=True):
        path.write_text(header + line)
        assert rows_to_predict(path, contract) == [row]
