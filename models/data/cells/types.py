"""The type of a column of texts, and the texts as a column of that type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.models.data.cells.number_texts import PLAIN, NumberFormat, parsed
from tidegate.models.data.columns import Array

INTEGER, NUMBER, BOOLEAN, FLAG, TEXT, SPELLING = "integer", "number", "boolean", "flag", "text", "spelling"


@dataclass(frozen=True)
class CellType:
    """What the cells of a column become.

    Attributes:
        kind: INTEGER: int64; NUMBER: float64, NaN for a missing one; BOOLEAN: bool; FLAG: 1.0, 0.0 or NaN; TEXT:
            strings as they stand, None for an empty one; SPELLING: "true", "false" or None.
        written: the format of numbers.
    """

    kind: str
    written: NumberFormat = PLAIN


TEXTS = CellType(TEXT)
FLAGS = {"true": 1.0, "false": 0.0}


def column_of(cells: Sequence[str], known: CellType, missing: tuple[str, ...] | None) -> Array:
    """The cells as a column of their type.

    Args:
        cells: texts.
        known: what they are.
        missing: texts that stand for a missing value; None: the usual ones, in a column of numbers.
    """
    if known.kind == INTEGER and known.written == PLAIN:
        return np.array([int(cell) for cell in cells], np.int64)
    if known.kind == INTEGER:
        return parsed(cells, known.written, missing).astype(np.int64)
    if known.kind == NUMBER:
        return _numbers(cells, known, missing)
    if known.kind in (BOOLEAN, FLAG):
        flags = np.array([FLAGS.get(cell.strip().lower(), math.nan) for cell in cells])
        return flags.astype(np.bool_) if known.kind == BOOLEAN else flags
    texts = np.empty(len(cells), object)
    if known.kind == SPELLING:
        words = [cell.strip().lower() for cell in cells]
        texts[:] = [word if word in FLAGS else None for word in words]
    else:
        texts[:] = [cell if cell and not cell.isspace() else None for cell in cells]
    if missing is not None:
        texts[[cell.strip() in missing for cell in cells]] = None
    return texts


def _numbers(cells: Sequence[str], known: CellType, missing: tuple[str, ...] | None) -> Array:
    if known.written == PLAIN and missing is None:
        try:
            return np.array([float(cell) if cell else math.nan for cell in cells], np.float64)
        except ValueError:  # a text of a missing number
            pass
    return parsed(cells, known.written, missing)
