"""A model's probabilities of the next token, as the decoders read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.preprocessing.target.text_target import UNSEEN


def log_probabilities(answered: NDArray[np.float32]) -> NDArray[np.float64]:
    """Their logarithms, float64 `(n, vocabulary)`; that of the unseen token, which has no text, is -inf.

    Raises:
        ValueError: one is not finite.
    """
    probabilities = answered.astype(np.float64)
    if not np.isfinite(probabilities).all():
        raise ValueError("the model answered probabilities that are not finite")
    # A probability too small for float32 is not 0.
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    logs[:, UNSEEN] = -np.inf
    return np.asarray(logs)
