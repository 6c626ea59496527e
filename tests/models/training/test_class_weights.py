"""Class weights by the class as people write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.models.config.class_weights import weights_by_place
from tidegate.models.errors import OptionsError

TRUTHS = (False, True)
CASES: dict[str, tuple[Any, tuple[Any, ...], list[float] | str]] = {
    "by name": ({"a": 2, "b": 3}, ("a", "b"), [2, 3]),
    "one of them": ({"b": 3}, ("a", "b", "c"), [1, 3, 1]),
    "a number": ({0: 1, 1: 5}, (0, 1), [1, 5]),
    "a number as text": ({"0": 1, "1": 5}, (0, 1), [1, 5]),
    "a number of texts": ({0: 1, 1: 5}, ("0", "1"), [1, 5]),
    "a number with zeros": ({"007": 2}, ("7", "8"), [2, 1]),
    "codes keep their zeros": ({"07": 2, "7": 3}, ("07", "7"), [2, 3]),
    "true of booleans": ({True: 5}, TRUTHS, [1, 5]),
    "yes of booleans": ({"yes": 5, "no": 2}, TRUTHS, [2, 5]),
    "1 of booleans": ({0: 2, 1: 5}, TRUTHS, [2, 5]),
    "true of texts": ({True: 5}, ("False", "True"), [1, 5]),
    "true of yes and no": ({True: 5}, ("no", "yes"), [1, 5]),
    "1 of yes and no": ({1: 5}, ("no", "yes"), [1, 5]),
    "other capitals": ({"YES": 5}, ("No", "Yes"), [1, 5]),
    "exact before other capitals": ({"a": 5, "A": 2}, ("A", "a"), [2, 5]),
    "a class of weight 0": ({"a": 0}, ("a", "b"), [0, 1]),
    "balanced": ("balanced", ("a", "b"), [1, 1]),
    "unknown": ({"maybe": 5}, ("no", "yes"), "unknown class 'maybe' .* expected one of: no, yes; "),
    "places are no names": (
        {0: 1, 1: 5},
        ("cat", "dog"),
        "unknown class '?0'? .* expected one of: cat, dog; ",
    ),
    "unknown of booleans": ({"maybe": 5}, TRUTHS, "unknown class 'maybe' .* expected one of: false, true; "),
    "ambiguous": ({"a": 5}, ("A", "a "), "class 'a' .* may be each of 'A', 'a '; expected one of them"),
    "twice": (
        {"1": 5, "1.0": 2},
        (0, 1),
        "has '1' and '1.0', which are both the class 1; expected one weight",
    ),
    "nothing left": ({"a": 0, "b": 0}, ("a", "b"), "every class the weight 0"),
    "no classes": ({"a": 2}, (), "the target has no classes; expected a classification"),
    "another word": ("even", ("a",), "is 'even'; expected 'balanced' or a weight per class"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_weight_is_that_of_the_class_that_is_meant(case: str) -> None:
    """Also after the experiment has been JSON, whose keys are texts."""
    weights, classes, expected = CASES[case]
    for given in (weights, json.loads(json.dumps(weights))):
        if isinstance(expected, list):
            assert weights_by_place(given, classes) == expected
        else:
            with pytest.raises(OptionsError, match=expected):
                weights_by_place(given, classes)
