"""Ratings of movies, month by month: made up, as users and movies with tastes that a factorisation can find."""

import numpy as np
import pandas as pd

USERS, MOVIES, TASTES = 400, 150, 3


def load(ratings, seed=0):
    """Yield a table a month, so that no more than one is in memory."""
    random = np.random.default_rng(seed)
    taste, genre = random.normal(size=(USERS, TASTES)), random.normal(size=(MOVIES, TASTES))
    liked = random.normal(scale=0.4, size=MOVIES)
    for month in pd.date_range("2025-01-01", periods=12, freq="MS"):
        size = ratings // 12
        user, movie = random.integers(0, USERS, size), random.integers(0, MOVIES, size)
        when = month + pd.to_timedelta(random.integers(0, 27 * 24 * 60, size), "min")
        sure = random.integers(1, 4, size)
        mean = 3 + liked[movie] + 0.5 * (taste[user] * genre[movie]).sum(axis=1) + 0.1 * (when.dayofweek >= 5)
        yield pd.DataFrame(
            {
                "user": user,
                "movie": 1000 + movie,
                "rated": when,
                "stars": mean + random.normal(scale=0.4 / np.sqrt(sure)),
                "confidence": sure,
            }
        )
