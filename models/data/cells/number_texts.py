"""Numbers as people write them: with a point or a comma, with thousands separators; and texts for a missing value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tidegate.models.data.columns import Array

# As pandas.read_csv and R read them, and as spreadsheets, SAS and databases write them; compared in lower case.
MISSING_TEXTS = frozenset(
    {
        "na",
        "n/a",
        "n.a.",
        "<na>",
        "null",
        "(null)",
        "\\n",
        "nan",
        "-nan",
        "none",
        "nil",
        "?",
        "-",
        "--",
        "---",
        ".",
        "..",
    }
    | {"#n/a", "#n/a n/a", "#na", "#nv", "#value!", "#wert!", "#div/0!", "#ref!", "#num!", "#name?"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})
DIGITS = str.maketrans("0123456789", "9999999999")
INFINITE = ("inf", "infinity", "+inf", "-inf", "+infinity", "-infinity")


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written.

    Attributes:
        decimal: what stands before the fraction, "." or ",".
        thousands: what divides thousands, "" for nothing.
    """

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a whole cell must be, apart from spaces around it."""
        whole = r"\d+"
        if self.thousands:
            whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+)"
        mark = re.escape(self.decimal)
        fraction = rf"{mark}\d*" if self.decimal == "." else rf"{mark}\d+"
        return re.compile(rf"[+-]?(?:{whole}(?:{fraction})?|{mark}\d+)(?:[eE][+-]?\d+)?")

    def parse(self, text: str) -> float | None:
        """The number; None if it is none in this format. Infinity and "nan" are numbers, as in Python."""
        plain = text.strip().translate(SPACES)
        if self.pattern.fullmatch(plain):
            return float(plain.replace(self.thousands, "").replace(self.decimal, "."))
        return float(plain) if plain.lower() in INFINITE else None

    def __str__(self) -> str:
        divided = f", thousands {self.thousands!r}" if self.thousands else ""
        return f"decimal {self.decimal!r}{divided}"


PLAIN = NumberFormat()
# The simplest first: of those that fit all cells of a column the first is meant.
FORMATS = (
    PLAIN,
    NumberFormat(","),
    *(NumberFormat(decimal, mark) for mark in " '" for decimal in ".,"),
    NumberFormat(".", ","),
    NumberFormat(",", "."),
)


def is_missing_text(text: str) -> bool:
    """Whether a cell is empty, or a text that stands for a missing value in a column of numbers."""
    plain = text.strip()
    return not plain or plain.lower() in MISSING_TEXTS


@lru_cache(1 << 14)
def fitting_formats(text: str, formats: tuple[NumberFormat, ...] = FORMATS) -> int:
    """Which of the formats a cell fits, one bit for each; 0: it is no number."""
    plain = text.strip().translate(SPACES)
    if plain.lower() in INFINITE:
        return (1 << len(formats)) - 1
    return sum(1 << place for place, known in enumerate(formats) if known.pattern.fullmatch(plain))


def parsed(cells: Sequence[str | None], written: NumberFormat, missing: Iterable[str] | None = None) -> Array:
    """The cells as float64, NaN for a missing one.

    Args:
        cells: texts.
        written: their format.
        missing: texts of missing values; None: MISSING_TEXTS in any case.

    Raises:
        ValueError: a cell is neither; its text is the argument.
    """
    stated = None if missing is None else frozenset(missing)
    return np.array([_parsed(cell or "", written, stated) for cell in cells], np.float64)


def _parsed(cell: str, written: NumberFormat, missing: frozenset[str] | None) -> float:
    absent = not cell.strip() if missing is None else cell.strip() in {"", *missing}
    number = math.nan if absent else written.parse(cell)
    if number is None and missing is None and is_missing_text(cell):
        return math.nan
    if number is None:
        raise ValueError(cell)
    return number
