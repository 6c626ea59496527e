"""What flatters a model is told; data in which nothing does is not talked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.profile.split_leaks import FirstRows, tell_leaks
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.splitting.row_identity import identify
from tidegate.models.preprocessing.splitting.rules import FREE, SplitRules, divide

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=300), RANDOM.integers(0, 2, 300)
DAYS = [f"2024-{1 + day // 28:02}-{1 + day % 28:02}" for day in range(300)]


def told(columns: Columns, fixed: Sequence[int] = ()) -> list[str]:
    schema = infer_schema(columns, None, ["y"], None)
    identity = identify(schema, columns)
    given = np.full(rows_of(columns), FREE, np.int8)
    given[list(fixed)] = 2
    parts = divide(schema, columns, SplitRules(0.1, 0.2, 7), given, identity)
    with recorded() as sentences:
        tell_leaks(schema, columns, parts, identity, len(fixed) > 0)
    return sentences


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, ""),
        ({"patient_id": np.arange(300) // 5}, "'patient_id' has 60 values in 300 rows, and "),
        (
            {"userId": np.array([f"u{row % 100}" for row in range(300)], object)},
            "column 'userId' has 100 values",
        ),
        ({"patient_id": np.arange(300)}, ""),  # a value a row is no group
        ({"store_id": np.arange(300) % 4}, ""),  # nor are four of them
        ({"device": RANDOM.normal(size=300).repeat(1)}, ""),
        ({"height": np.arange(300) // 5}, ""),
        ({"when": np.array([*DAYS], object)}, "order of 'when', from 2024-01-01 to 2024-11-20"),
        ({"when": np.array([*DAYS[::-1]], object)}, ""),
        ({"timestamp": np.arange(300) * 60.0}, "in the order of 'timestamp'"),
        ({"year": 2000 + np.arange(300) // 100}, ""),
        ({"rank": np.arange(300)}, ""),
    ],
)
def test_groups_and_times(more: dict[str, Any], sentence: str) -> None:
    found = told({"x": X, **more, "y": Y})
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


def test_windows_of_one_series_overlap() -> None:
    series = np.cumsum(RANDOM.normal(size=400))
    windows = np.stack([series[start : start + 24] for start in range(300)])
    (sentence,) = told({"window": windows, "y": Y})
    assert "windows of one series" in sentence and "{time: true}" in sentence
    assert told({"window": windows[RANDOM.permutation(300)], "y": Y}) == []
    assert told({"window": np.ones((300, 24)), "y": Y, "x": X}) == []


def test_rows_that_contradict_each_other() -> None:
    columns = {"x": np.append(X, [X[3], X[3]]), "y": np.append(Y, [1 - Y[3], Y[3]])}
    (sentence,) = told(columns)
    assert sentence.startswith(
        f"3 of 302 rows have inputs that also occur with another 'y', such as rows 4 and 301 with {Y[3]} and"
    )


def test_published_test_rows_that_are_training_rows() -> None:
    columns = {"x": np.append(X, X[:7]), "y": np.append(Y, Y[:7])}
    (sentence,) = told(columns, range(250, 307))
    assert sentence.startswith("7 of 57 test rows are training rows too")
    assert told({"x": X, "y": Y}, range(250, 300)) == []


@pytest.mark.parametrize("name", ["digits", "wine", "diabetes"])
def test_the_examples_have_nothing_of_the_kind(name: str) -> None:
    assert not [
        one
        for one in prepare(dataset=name).summary["warnings"]
        if "test figures" in one or "occur with" in one
    ]


@pytest.mark.parametrize(
    ("most", "start"), [(900, "the rows are"), (150, "the first 150 of 300 rows were looked at: ")]
)
def test_the_first_rows_of_streamed_data_are_told_of(most: int, start: str) -> None:
    columns = {"x": X, "when": np.array([*DAYS], object), "patient_id": np.arange(300) // 3, "y": Y}
    schema, first = infer_schema(columns, None, ["y"], None), FirstRows(most)
    for begin in range(0, 300, 70):
        part = take(columns, np.arange(begin, min(300, begin + 70)))
        places = np.arange(rows_of(part))
        held = {"test": places % 5 == 0, "validation": places % 5 == 1, "train": places % 5 > 1}
        first.add(part, {name: np.flatnonzero(chosen) for name, chosen in held.items()})
    with recorded() as sentences:
        first.tell_leaks(schema, chosen=False)
    assert sentences[0].startswith(start) and "order of 'when'" in sentences[0]
    assert f"{min(most, 300) // 3} values in {min(most, 300)} rows" in sentences[1] and len(sentences) == 2
