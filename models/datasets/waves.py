"""A wave in pieces: of quantised samples, which a network learns to continue, and as windows, of which few are odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.readers import open_text

LEVELS = 64
LOWEST, HIGHEST = 55.0, 105.0  # mmHg, slightly more than the range of the record
PIECE = 128  # samples
STEP = 16  # samples from one training piece to the next: each sample is learned in several contexts
WINDOW, LATER_STEP = 64, 2  # samples of a window of `bleeding`, and from one of its test windows to the next
LEARNED = 1200  # samples, as the name of the archive's file says
TEST = 0.2  # fraction of the record, at its end


def blood_pressure(files: list[Path]) -> tuple[Columns, int]:
    """`wave`, str, 128 levels from 0 to 63 separated by spaces; the test rows are the end of the record.

    A level is 0.78 mmHg. Training pieces overlap; test pieces do not, and share no sample with the training.
    """
    with open_text(files[0]) as stream:
        pressure = np.loadtxt(stream, delimiter=",", skiprows=1)[:, 1]
    scaled = (pressure - LOWEST) / (HIGHEST - LOWEST) * LEVELS
    levels = np.clip(np.floor(scaled), 0, LEVELS - 1).astype(np.int64)
    test = round(TEST * len(levels))
    training = np.lib.stride_tricks.sliding_window_view(levels[:-test], PIECE)[::STEP]
    held_out = levels[-test:][: test // PIECE * PIECE].reshape(-1, PIECE)
    pieces = [" ".join(map(str, piece)) for piece in (*training.tolist(), *held_out.tolist())]
    return {"wave": np.array(pieces, object)}, len(held_out)


def bleeding(files: list[Path]) -> tuple[Columns, int]:
    """`window`, float32 `(n, 64)` mmHg, and `bleeding`, 1 where a sample of the window is marked; 12 samples are.

    The archive's training part, the first 1,200 samples, in windows of every sample; the test rows are windows of every
    second later sample. No window has samples of both.
    """
    with open_text(files[0]) as stream:
        record = np.loadtxt(stream, delimiter=",", skiprows=1)
    learned, later = (
        np.lib.stride_tricks.sliding_window_view(part, WINDOW, axis=0)[::step]
        for part, step in ((record[:LEARNED], 1), (record[LEARNED:], LATER_STEP))
    )
    windows = np.concatenate([learned, later])
    marked = windows[:, 2].max(axis=1).astype(np.int64)
    return {"window": windows[:, 1].astype(np.float32), "bleeding": marked}, len(later)
