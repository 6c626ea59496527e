"""Time series of the UCR and UEA archives, read from their .ts files.

A .ts file has comments (#), a header (@key value), and after @data one series per line: the values of a channel are
separated by commas, channels and the class by colons (aeon's documentation, "Data loading and file formats").
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.sequences import padded
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text


def equal_length(files: list[Path]) -> tuple[Columns, int]:
    """`series`, float32 `(n, steps)`, or `(n, steps, channels)` with several channels, and `class`, str."""
    return _columns(files, lambda rows: _one_channel(np.stack(rows)))


def any_length(files: list[Path]) -> tuple[Columns, int]:
    """`series`, float32 `(n, longest, channels)` padded with NaN, and `class`, str."""
    return _columns(files, padded)


def _columns(files: list[Path], joined: Callable[[list[Array]], Array]) -> tuple[Columns, int]:
    parts = [read_ts(file) for file in files]
    rows = [row for series, _ in parts for row in series]
    labels = np.array([label for _, labels in parts for label in labels], object)
    return {"series": joined(rows), "class": labels}, len(parts[-1][0])


def _one_channel(rows: Array) -> Array:
    return rows[:, :, 0] if rows.shape[2] == 1 else rows


def read_ts(file: Path) -> tuple[list[Array], list[str]]:
    """Each line's series, float32 `(steps, channels)`, and its class.

    Raises:
        FormatError: no @data, or a line that is not a series; names the line.
    """
    with open_text(file) as stream:
        lines = [(number, line.strip()) for number, line in enumerate(stream, 1)]
    body = list(dropwhile(lambda entry: entry[1].lower() != "@data", lines))[1:]
    rows = [(number, line) for number, line in body if line and not line.startswith("#")]
    if not rows:
        raise FormatError(f"{file} has no series after a line @data; expected a .ts file; copy it again")
    return [_series(file, number, line) for number, line in rows], [
        line.rpartition(":")[2].strip() for _, line in rows
    ]


def _series(file: Path, number: int, line: str) -> Array:
    channels, _, label = line.rpartition(":")
    try:
        values = [np.array(channel.split(","), np.float32) for channel in channels.split(":")]
        if label.strip():
            return np.stack(values, axis=1)
        problem = "no class after the last colon"
    except ValueError as error:
        problem = str(error)
    raise FormatError(
        f"{file}, line {number}: {problem}; expected channels with the same number of values and a class, "
        "separated by colons; copy the file again"
    )
