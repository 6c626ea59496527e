"""From a customer's row to the numbers that the network takes."""

from __future__ import annotations

import numpy as np
import pandas as pd

SEGMENTS = ("consumer", "enterprise", "public", "small_business", "student")
PLACES = {segment: place for place, segment in enumerate(SEGMENTS)}


def build_features(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Features of `n` rows, `(n,)` each: the segment's place, and three numbers."""
    visits = frame["visits"].astype("float32").fillna(0.0)
    amount = frame["amount"].astype("float32")
    weekday = pd.to_datetime(frame["signup_date"]).dt.day_of_week
    return {
        "segment": frame["segment"].map(PLACES).fillna(0).astype("int32").to_numpy(),
        "log_amount": np.log1p(amount).to_numpy("float32"),
        "amount_per_visit": (amount / (visits + 1)).to_numpy("float32"),
        "weekday": weekday.to_numpy("float32"),
    }
