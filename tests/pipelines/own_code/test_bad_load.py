"""Functions that give no rows to train on: each ends `prepare` with a sentence that names function and cause."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.models.data.read_options import OwnLoad
from tidegate.models.errors import DataError, UserCodeError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.user_code.project import use_project
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate

number = itertools.count()
HEAD = (
    "import numpy as np\nimport pandas as pd\nimport pyarrow as pa\n"
    "X, Y = np.arange(60.0), np.arange(60) % 2\nn = 0\n"
)
GOOD = "{'x': X, 'y': Y}"


@pytest.fixture(autouse=True)
def _no_project() -> Iterator[None]:
    yield
    use_project([])


def written(folder: Path, body: str, arguments: str = "source=None, **options") -> str:
    module = f"data_{next(number)}"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / f"{module}.py").write_text(f"{HEAD}def load({arguments}):\n{lines}")
    use_project([folder])
    return f"{module}:load"


BAD: dict[str, tuple[str, str]] = {
    "nothing": (
        "pass",
        "gave None; expected a dict of columns, a pandas, Polars or pyarrow table, or an iterator",
    ),
    "a number": ("return 3", "gave int; expected a dict of columns"),
    "a text": ("return 'rows.csv'", "gave str; expected a dict"),
    "an array": ("return X", "gave numpy.ndarray; expected a dict of columns"),
    "two arrays": ("return X, Y", "part 1 gave numpy.ndarray; expected a dict of columns"),
    "rows instead of columns": (
        "return [{'x': 1.0, 'y': 0}]",
        "column 'x' is float; expected an array or a list",
    ),
    "a lazy table": (
        "class Lazy:\n    def collect(self): pass\nreturn Lazy()",
        r"gave .*Lazy; expected .*; call its collect\(\) first",
    ),
    "no columns": ("return {}", "gave no columns"),
    "no rows": ("return {'x': X[:0], 'y': Y[:0]}", "gave no rows; expected at least one"),
    "no parts": ("return iter(())", "gave no rows"),
    "ragged": ("return {'x': X, 'y': Y[:59]}", "columns have different lengths: x 60, y 59"),
    "a single value": ("return {'x': np.array(1.0), 'y': Y}", "column 'x' is the single value 1.0"),
    "complex numbers": (
        "return {'x': X * 1j, 'y': Y}",
        r"column 'x' is an array of dtype complex128 and shape \(60,\)",
    ),
    "records": ("return {'x': np.zeros(60, 'i4,f4'), 'y': Y}", "column 'x' is an array of dtype"),
    "a column of anything": ("return {'x': [1, 'a'] * 30, 'y': Y}", "column 'x' has no type: .*one type"),
    "objects": ("return {'x': [object()] * 60, 'y': Y}", "column 'x' has no type"),
    "a set": ("return {'x': set(range(60)), 'y': Y}", "column 'x' is set; expected an array or a list"),
    "a number as a name": ("return {0: X, 'y': Y}", "a column is called 0; expected a text as its name"),
    "a frame of mixed cells": (
        "return pd.DataFrame({'x': [1, 'a'] * 30, 'y': Y})",
        "a table that Arrow cannot read: .*x",
    ),
    "one name twice": ("return pa.table([X, X, Y], ['x', 'x', 'y'])", "two columns are called 'x'"),
    "durations": (
        "return pa.table({'x': pa.array(Y, pa.duration('s')), 'y': Y})",
        "'x' has type duration.s.",
    ),
    "a part with less": (
        "yield {'x': X, 'y': Y}\nyield {'y': Y}",
        "gave a part with no x, unlike the first one",
    ),
    "a part with more": (
        "yield {'y': Y}\nyield {'x': X, 'y': Y}",
        "gave a part with also x, unlike the first one",
    ),
    "large and small": (
        "yield {'x': np.array([2**60 + 1, 2]), 'y': Y[:2]}\nyield {'x': X, 'y': Y}",
        "whole numbers beyond 2\\^53 in one part and fractions in another",
    ),
    "an error": (
        "return {'x': X, 'y': Y, 'z': 1 / 0}",
        r"data_\d+.py:7: data.load: calling .*ZeroDivisionError: division",
    ),
    "an error in a part": (
        "yield {'x': X, 'y': Y}\nraise KeyError('no file')",
        r"data_\d+.py:8: data.load .*: reading its part 2 raised KeyError: 'no file'",
    ),
    "an end of the program": ("raise SystemExit(3)", "calling .* raised SystemExit: 3"),
    "no target": ("return {'x': X}", "target 'y' is not a column"),
    "other columns on the second call": (
        "global n\nn += 1\nreturn {('x' if n < 2 else 'z'): X, 'y': Y}",
        "gave a part with also z and no x, unlike the first one; expected the same columns in all parts, and each time",
    ),
    "an end that comes early": (
        "global n\nn += 1\nyield {'x': X, 'y': Y}\nif n < 2:\n    yield {'x': X, 'y': Y}",
        "gave 120 rows when it was called first, and 60 now; expected the same rows each time",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_gives_no_rows_is_named(case: str, tmp_path: Path) -> None:
    body, sentence = BAD[case]
    with pytest.raises((DataError, UserCodeError), match=sentence):
        prepare(load=OwnLoad(written(tmp_path, body)), target=["y"])


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (
            "",
            {"since": 3},
            r"load\(\) cannot be called with \(since=…\): got an unexpected keyword argument 'since'",
        ),
        ("source, since", {}, r"cannot be called with \(\): missing a required argument: 'source'"),
        (
            "*, since",
            {"sinse": 1},
            "missing a required argument: 'since'|unexpected keyword argument 'sinse'",
        ),
    ],
)
def test_another_signature(arguments: str, options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserCodeError, match=sentence):
        prepare(load=OwnLoad(written(tmp_path, f"return {GOOD}", arguments), options), target=["y"])


def test_what_is_no_function(tmp_path: Path) -> None:
    module = written(tmp_path, f"return {GOOD}").partition(":")[0]
    with pytest.raises(
        UserCodeError, match=f"data.load: {module}:HEAD|{module} has no 'lod'; did you mean load"
    ):
        prepare(load=OwnLoad(f"{module}:lod"), target=["y"])
    with pytest.raises(UserCodeError, match=f"data.load: {module}:n is int '0'; expected a function"):
        prepare(load=OwnLoad(f"{module}:n"), target=["y"])
    with pytest.raises(UserCodeError, match="there is no module no_such for 'no_such:load'"):
        prepare(load=OwnLoad("no_such:load"), target=["y"])


def test_other_rows_in_a_later_pass_of_streamed_rows(tmp_path: Path) -> None:
    body = "global n\nn += 1\nfor _ in range(4 if n < 3 else 3):\n    yield {'x': X, 'y': Y}"
    load = OwnLoad(written(tmp_path, body))
    data = StreamedData(None, None, None, ["y"], {}, None, None, 1 << 30, tmp_path, Path, load=load)
    with pytest.raises(DataError, match="gave 240 rows when it was called first, and 180 now"):
        prepare_streamed(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"load": "a.b"}, "'a.b' is no reference; expected package.module:name"),
        ({"load": "a:b", "dataset": "wine"}, "give either source .* received both"),
        (
            {"load": "a:b", "format": "csv"},
            "format is for a reader, and load a:b gives the rows; leave format out",
        ),
        ({"load": "a:b", "options": {"source": 1}}, "options has source, which load gets from data.source"),
        ({"source": "a.csv", "options": {"since": 1}}, "options since are of load, which is not given"),
    ],
)
def test_what_does_not_go_with_load(data: dict[str, Any], sentence: str) -> None:
    document = {"name": "own", "data": {"target": "y", **data}, "model": {"family": "mlp"}}
    with pytest.raises(ExperimentError, match=sentence):
        validate(document, "own.yaml")


def test_load_needs_a_target_or_null() -> None:
    document = {"name": "own", "data": {"load": "a:b"}, "model": {"family": "mlp"}}
    with pytest.raises(ExperimentError, match="target is missing"):
        validate(document, "own.yaml")
