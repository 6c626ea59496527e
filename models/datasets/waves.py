"""A wave as many short pieces, each with the sample that comes next: what a network of samples learns to go on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.columns import Columns
from models.readers import open_text

LEVELS = 64
LOWEST, HIGHEST = 55.0, 105.0  # mmHg, a little more than the whole record
PIECE = 64  # samples
TEST = 0.2  # of the record, its end


def blood_pressure(files: list[Path]) -> tuple[Columns, int]:
    """`past`, uint8 `(n, 64)`, the samples before, and `next`, int64, of levels 0 to 63; the test is the end.

    No sample of the test rows' `next` is in a training row. Rows whose level no training row has are left out.
    """
    with open_text(files[0]) as stream:
        pressure = np.loadtxt(stream, delimiter=",", skiprows=1)[:, 1]
    scaled = (pressure - LOWEST) / (HIGHEST - LOWEST) * LEVELS
    levels = np.clip(np.floor(scaled), 0, LEVELS - 1).astype(np.uint8)
    pieces = np.lib.stride_tricks.sliding_window_view(levels, PIECE + 1)
    past, following = pieces[:, :-1].copy(), pieces[:, -1].astype(np.int64)
    test = round(TEST * len(following))
    kept = np.isin(following, following[:-test])
    return {"past": past[kept], "next": following[kept]}, int(kept[-test:].sum())
