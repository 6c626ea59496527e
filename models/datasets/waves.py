"""A wave as many pieces of samples, written as levels: what a network learns to go on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.readers import open_text

LEVELS = 64
LOWEST, HIGHEST = 55.0, 105.0  # mmHg, a little more than the whole record
PIECE = 128  # samples
STEP = 16  # samples from one training piece to the next: each sample is learned after several beginnings
TEST = 0.2  # of the record, its end


def blood_pressure(files: list[Path]) -> tuple[Columns, int]:
    """`wave`, str, 128 levels of 0 to 63 with spaces between; the test is the record's end, each sample in it once.

    A level is 0.78 mmHg. Training pieces overlap, and none has a sample of the test.
    """
    with open_text(files[0]) as stream:
        pressure = np.loadtxt(stream, delimiter=",", skiprows=1)[:, 1]
    scaled = (pressure - LOWEST) / (HIGHEST - LOWEST) * LEVELS
    levels = np.clip(np.floor(scaled), 0, LEVELS - 1).astype(np.int64)
    test = round(TEST * len(levels))
    known = np.lib.stride_tricks.sliding_window_view(levels[:-test], PIECE)[::STEP]
    asked = levels[-test:][: test // PIECE * PIECE].reshape(-1, PIECE)
    pieces = [" ".join(map(str, piece)) for piece in (*known.tolist(), *asked.tolist())]
    return {"wave": np.array(pieces, object)}, len(asked)
