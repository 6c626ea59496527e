"""Above which score a row is an anomaly, by hand."""

import numpy as np
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.training.anomaly_threshold import choose_limit

SCORES = np.array([[4.0], [1.0], [3.0], [2.0], [8.0]], np.float32)


def test_at_most_the_share_is_above_and_the_threshold_is_between_two_scores() -> None:
    assert choose_limit(SCORES, 0.2) == (6.0, 1, 5)
    assert choose_limit(SCORES, 0.39) == (6.0, 1, 5)
    assert choose_limit(SCORES, 0.4) == (3.5, 2, 5)


def test_a_share_of_less_than_a_row_is_above_them_all() -> None:
    assert choose_limit(SCORES, 0.01) == (10.0, 0, 5)
    assert choose_limit(SCORES[:1], 0.01) == (4.0, 0, 1)


def test_equal_scores_are_on_one_side() -> None:
    assert choose_limit(np.ones((10, 1)), 0.3) == (1.0, 0, 10)


def test_there_must_be_rows() -> None:
    with pytest.raises(OptionsError, match="there are no validation rows"):
        choose_limit(SCORES[:0], 0.1)
