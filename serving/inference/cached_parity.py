"""Compares a model that keeps what it has read with the trained one, which reads whole texts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.decoding.cache import PrefixReader
from tidegate.models.probing.probes import Probes
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.errors import ParityError
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import load_cached

TOLERANCE = 1e-4  # of probabilities, as for whole texts
MOST_ROWS = 32  # of held-out rows, and of probes
# Tokens read at once, again and again: single ones and several, after and before others.
PIECES = (1, 1, 7, 1, 2)


def measure_cached(
    predictor: Predictor,
    cached: Path,
    columns: Columns,
    reference: NDArray[np.float32],
    probes: Probes | None,
) -> Parity:
    """Compare what a cached model answers, reading texts whole and in pieces, with what the trained model answers.

    Args:
        predictor: of the same bundle.
        cached: the file, see `export.onnx_cache`.
        columns, reference: held-out raw rows, and the trained model's `token_probabilities`, `(n, 2, steps)`.
        probes: more of both; None: there are none.

    Raises:
        ParityError: the shapes differ.
        UntrustedModelError, ModelLoadError: the file cannot be loaded.
    """
    model, differences, rows = load_cached(cached).model, [0.0], 0
    known = [(columns, reference)] + ([(probes.columns, probes.answers)] if probes else [])
    for given, answers in known:
        chosen = take(given, np.arange(min(MOST_ROWS, len(answers), rows_of(given))))
        rows += rows_of(chosen)
        for pieces in (None, PIECES):
            run = PrefixReader(model, pieces)
            found = Predictor(predictor.contract, predictor.transforms, run).token_probabilities(chosen)
            differences.append(_largest(found, answers[: len(found)]))
    return Parity(max_abs_difference=max(differences), tolerance=TOLERANCE, rows=rows)


def _largest(found: NDArray[np.float32], known: NDArray[np.float32]) -> float:
    if found.shape != known.shape:
        raise ParityError(
            f"the model with a cache answered {found.shape}, the trained one {known.shape}; expected equal shapes; "
            "export the model again"
        )
    difference = np.abs(found.astype(np.float64) - known.astype(np.float64)).max(initial=0)
    return float(np.nan_to_num(difference, nan=1.0))
