"""A backtest: each model learns from what was before its origin, and all but the first piece is forecast once."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.forecast.rolling_folds import rolling_folds

ORIGINS = np.random.default_rng(0).permutation(np.arange(10, 110))


def test_the_origin_rolls_and_nothing_forecast_was_learned() -> None:
    found = rolling_folds(ORIGINS, 5, 3, 0.2)
    first = [ORIGINS[fold.forecast].min() for fold in found]
    assert first == [35, 60, 85]
    assert sorted(np.concatenate([ORIGINS[fold.forecast] for fold in found])) == list(range(35, 110))
    for fold in found:
        learned, held, asked = (ORIGINS[rows] for rows in fold)
        assert learned.max() + 5 == held.min() and held.max() + 5 == asked.min()
        assert learned.min() == 10 and len(held) == round(0.2 * (len(learned) + len(held) + 4))


def test_without_validation_rows_all_earlier_ones_are_learned() -> None:
    (fold,) = rolling_folds(ORIGINS, 5, 1, 0.0)
    assert not len(fold.validation) and ORIGINS[fold.train].max() + 5 == ORIGINS[fold.forecast].min()


def test_too_few_moments_are_refused() -> None:
    with pytest.raises(
        SplitError, match=r"data\.split\.folds is 3 and there are 20 moments besides the test rows"
    ):
        rolling_folds(ORIGINS[:20], 30, 3, 0.2)
