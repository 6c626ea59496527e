"""Spoken digits: each recording as a sequence of MFCC frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.data.sequences import padded


def digits(files: list[Path]) -> tuple[Columns, int]:
    """`mfcc`, float32 `(3000, 92, 13)` padded with NaN, and `digit`, int64; speakers are mixed."""
    with np.load(files[0], allow_pickle=False) as stored:
        frames, lengths, digit = stored["X"], stored["lengths"], stored["y"]
    rows = np.split(frames, np.cumsum(lengths)[:-1])
    return {"mfcc": padded(rows), "digit": digit.astype(np.int64)}, 0
