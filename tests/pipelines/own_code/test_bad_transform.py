"""Transforms of the user's own that no endpoint could run: each ends `prepare` with a sentence that names the cause."""

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.models.errors import DataError, UserCodeError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData
from tidegate.models.user_code.project import use_project
from tidegate.pipelines.experiment.data import STREAMED, Data

ROWS = 120
number = itertools.count()
HEAD = "import numpy as np\nimport pandas as pd\ncount = 0\n"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two numbers and a text, and a class."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = [f"{row},{row % 7 + 0.5},{'red' if row % 3 else 'blue'},{row % 2}" for row in range(ROWS)]
    path.write_text("\n".join(["a,b,colour,bought", *lines]) + "\n")
    return path


@pytest.fixture(autouse=True)
def _no_project() -> Iterator[None]:
    yield
    use_project([])


def _transform(folder: Path, source: str) -> str:
    """The reference of `transform` in a module with this source."""
    module = f"features_{next(number)}"
    (folder / f"{module}.py").write_text(HEAD + source)
    use_project([folder])
    sys.modules.pop(module, None)
    return f"{module}:transform"


def _function(body: str) -> str:
    return "def transform(columns):\n" + "".join(f"    {line}\n" for line in body.splitlines())


def _table(body: str) -> str:
    return "def transform(table: pd.DataFrame):\n" + "".join(f"    {line}\n" for line in body.splitlines())


BAD = {
    "drops rows": (
        _table("return table[table['b'] > 1][['a']]"),
        "returned 102 rows in column 'a' for 120 rows",
    ),
    "doubles rows": (
        _function("return {'a': np.repeat(columns['a'], 2)}"),
        "returned 240 rows in column 'a'",
    ),
    "one value": (
        _function("return {'a': columns['a'].mean()}"),
        "returned one value in column 'a' for 120 rows",
    ),
    "sorts": (_table("return table.sort_values('b')[['b']]"), "changes the order of the rows"),
    "mean of all": (
        _function("return {'c': columns['a'] - columns['a'].mean()}"),
        r"returned -59.5 and 0.0 in column 'c' of row 0, alone and among all rows",
    ),
    "rank": (_table("return {'r': table['a'].rank()}"), "in column 'r' of row"),
    "random": (
        _function("return {'a': columns['a'] + np.random.random(len(columns['a']))}"),
        "in column 'a' of row 0, for the same rows, given twice: it is random, or keeps state",
    ),
    "state": (
        _function("global count\ncount += 1\nreturn {'a': columns['a'] + count}"),
        "given twice: it is random, or keeps state",
    ),
    "types change": (
        _function("a = columns['a']\nreturn {'a': a if len(a) > 1 else [str(a[0])]}"),
        "returned column 'a' as numbers and as texts, alone and among all rows",
    ),
    "columns of these rows": (
        _table("return pd.get_dummies(table['colour'].astype(object))"),
        "returned column '(blue|red)' for some rows and not for others",
    ),
    "raises on a row": (
        _table("return {'n': [1 / (value - 77) for value in table['a'].tolist()]}"),
        r"features_\d+.py:5: data.transform: features_\d+:transform raised ZeroDivisionError: division by zero; row 77 "
        "of the data: a=77, b=0.5, colour=red",
    ),
    "the target": (
        _table("return {'y': table['bought']}"),
        "it is given all columns but 'bought', which no request has",
    ),
    "a key that is not there": (_function("return {'x': columns['amount']}"), "KeyError: 'amount'"),
    "nothing": (
        _function("columns['a'] = 3"),
        "returned nothing; expected a dict of arrays by column name, or a table",
    ),
    "a number": (_function("return 3"), "returned a int"),
    "exits": (_function("import sys\nsys.exit(3)"), "raised SystemExit: 3"),
    "two arguments": (
        "def transform(a, b):\n    return a\n",
        "takes a, b; expected a function of the columns alone",
    ),
    "no argument": ("def transform():\n    return {}\n", "takes no argument"),
    "a class": ("class transform:\n    pass\n", "is a class"),
    "a number in its place": ("transform = 3\n", "is a int"),
    "not there": (
        "def transfrom(columns):\n    return columns\n",
        "has no 'transform'; did you mean transfrom?",
    ),
    "imports what is missing": ("import a_package_nobody_has\n", "raised ModuleNotFoundError"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_transform_that_no_endpoint_could_run(name: str, rows: Path, tmp_path: Path) -> None:
    source, words = BAD[name]
    with pytest.raises(UserCodeError, match=words):
        prepare(source=rows, target=["bought"], transform=_transform(tmp_path, source))


def test_an_input_that_does_not_come_back(rows: Path, tmp_path: Path) -> None:
    """`inputs` names columns of the transform, not of the source."""
    reference = _transform(tmp_path, _function("return {'double': columns['a'] * 2}"))
    with pytest.raises(DataError, match="input 'a' is not a column of the data; the columns are: double"):
        prepare(source=rows, target=["bought"], inputs=[{"name": "a"}], transform=reference)


def test_a_slow_one_is_told(rows: Path, tmp_path: Path) -> None:
    reference = _transform(tmp_path, _function("import time\ntime.sleep(0.06)\nreturn {'a': columns['a']}"))
    told = prepare(source=rows, target=["bought"], transform=reference).summary["warnings"]
    assert any(
        "ms for one row, which each request of the endpoint waits for" in sentence for sentence in told
    )


def test_streamed_rows_are_refused_before_a_run() -> None:
    document = {"source": "rows.csv", "target": "bought", "transform": "features:transform", "stream": True}
    with pytest.raises(ValueError, match="transform features:transform needs all rows in memory"):
        Data.model_validate(document)


def test_streamed_data_takes_every_key_that_is_passed_on() -> None:
    assert {field.name for field in dataclasses.fields(StreamedData)} >= STREAMED
