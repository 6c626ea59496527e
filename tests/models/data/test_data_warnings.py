"""What a user should know of their data is kept once, and does not swallow other warnings."""

import warnings

import pytest

from tidegate.models.data.data_warnings import DataWarning, recorded, tell


def test_a_sentence_is_kept_once() -> None:
    with recorded() as told:
        tell("'area' is no number in 3 rows")
        tell("'area' is no number in 3 rows")
        tell("'day' is a date")
    assert told == ["'area' is no number in 3 rows", "'day' is a date"]


def test_other_warnings_are_shown_as_always() -> None:
    with pytest.warns(UserWarning, match="another"), recorded() as told:
        warnings.warn("another", UserWarning, stacklevel=1)
        tell("ours")
    assert told == ["ours"]


def test_elsewhere_it_is_a_warning() -> None:
    with pytest.warns(DataWarning, match="ours"):
        tell("ours")
