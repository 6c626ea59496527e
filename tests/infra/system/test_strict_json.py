"""What we write as JSON other readers can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.infra.system.strict_json import strict_json

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": 1.5, "b": [1, None, "NaN"]}, {"a": 1.5, "b": [1, None, "NaN"]}),
        ({"a": NAN, "b": [INF, {"c": (-INF, 2.0)}]}, {"a": None, "b": [None, {"c": [None, 2.0]}]}),
        (NAN, None),
    ],
)
def test_a_number_that_is_not_finite_is_null(value: Any, read: Any) -> None:
    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    assert json.loads(strict_json(value, indent=1), parse_constant=refuse) == read
