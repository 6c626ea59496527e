"""What the cells of a column of texts are: numbers of some format, codes, booleans, missing values or other texts.

A column is read once, in parts of any size. Digits are counted by shape ("18.14" is "99.99"), so that a column of
numbers takes little more time than counting its distinct shapes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from tidegate.models.data.cells.number_texts import (
    DIGITS,
    FORMATS,
    INFINITE,
    MISSING_TEXTS,
    PLAIN,
    NumberFormat,
    fitting_formats,
)

BOOLEANS = ("true", "false")
MISSING_SHAPES = frozenset(text.translate(DIGITS) for text in MISSING_TEXTS)
CODE = re.compile(r"^[ \t]*[+-]?0\d+[ \t]*$", re.M)
ZERO_LED = re.compile(r"^[ \t]*[+-]?0[.,]\d{3}[ \t]*$", re.M)
WHOLE = re.compile(r"[+-]?\d+")
LONG = re.compile(r"[+-]?\d{4,}(?:[.,]\d*)?")
DOTTED = 1 << FORMATS.index(PLAIN) | 1 << FORMATS.index(NumberFormat(",", "."))
EXACT = 2**53  # float64 holds each whole number up to here
EXACT_DIGITS = 16
FEW = 20


class CellFacts:
    """Counts what the cells of one column are.

    Args:
        missing: texts that stand for a missing value; None: those in MISSING_TEXTS.

    Attributes:
        blank: the number of empty cells.
        missing: how often each text of a missing value was found.
        numbers, texts: how many cells are numbers; how many are neither these nor missing, nor booleans.
        booleans: how often each spelling of true and false was found.
        example, example_row: the first of the `texts`, and its row, from 1.
        code: the first whole number with a leading zero.
        fractions: whether a number is not written as a plain whole one.
        marked: whether a number has a point or a comma.
        dotted: whether a number may be whole or not: "1.234".
        largest: the largest magnitude of whole numbers with 16 digits or more; 0: there is none.
    """

    def __init__(self, missing: Iterable[str] | None = None) -> None:
        self._stated = None if missing is None else frozenset(missing)
        self.blank = self.numbers = self.texts = self.largest = 0
        self.missing, self.booleans = Counter[str](), Counter[str]()
        self.example: str | None = None
        self.example_row = self._rows = 0
        self._some: set[str] = set()
        self.code: str | None = None
        self.fractions = self.marked = self.dotted = False
        self._common = (1 << len(FORMATS)) - 1
        self._resolved = False

    @property
    def present(self) -> int:
        """How many cells have a value."""
        return self.numbers + self.texts + self.booleans.total()

    @property
    def many(self) -> bool:
        """Whether there are more than FEW distinct cells."""
        return len(self._some) > FEW

    def add(self, cells: Sequence[str]) -> None:
        """Count more cells."""
        before, self._rows = self._rows, self._rows + len(cells)
        if len(self._some) <= FEW:
            self._some.update(islice(set(cells), FEW + 1))
        if self._stated is not None:
            cells = self._without_stated(cells)
        if not cells:
            return
        joined = "\n".join(cells)
        shapes = joined.translate(DIGITS).split("\n")
        if len(shapes) != len(cells):
            shapes = [cell.translate(DIGITS).replace("\n", " ") for cell in cells]
        for shape, count in Counter(shapes).items():
            self._add(shape, count, cells, shapes)
        if self.example is not None and not self.example_row and self._stated is None:
            self.example_row = before + cells.index(self.example) + 1
        code = self.code is None and self.numbers and CODE.search(joined)
        self.code = code[0].strip() if code else self.code
        self._resolved = self._resolved or bool(self.numbers and ZERO_LED.search(joined))

    def _without_stated(self, cells: Sequence[str]) -> list[str]:
        assert self._stated is not None
        absent = [cell.strip() for cell in cells if cell.strip() in self._stated]
        self.blank += absent.count("")
        self.missing.update(cell for cell in absent if cell)
        return [cell for cell in cells if cell.strip() not in self._stated]

    def _add(self, shape: str, count: int, cells: Sequence[str], shapes: Sequence[str]) -> None:
        plain = shape.strip()
        lower = plain.lower()
        if not plain:
            self.blank += count
        elif self._stated is None and lower in MISSING_SHAPES:
            self.missing[cells[shapes.index(shape)].strip() if "9" in plain else plain] += count
        elif self._stated is None and lower in INFINITE:  # no number that can be learned from
            self.missing[plain] += count
        elif lower in BOOLEANS:
            self.booleans[plain] += count
        elif fits := fitting_formats(shape):
            self._add_number(plain, count, fits, cells, shapes, shape)
        else:
            self.texts += count
            if self.example is None:
                self.example = cells[shapes.index(shape)]

    def _add_number(
        self, plain: str, count: int, fits: int, cells: Sequence[str], shapes: Sequence[str], shape: str
    ) -> None:
        self.numbers += count
        self._common &= fits
        if LONG.fullmatch(plain):
            self._resolved = True
        if not WHOLE.fullmatch(plain):
            self.fractions = True
            self.marked = self.marked or "." in plain or "," in plain
            self.dotted = self.dotted or (fits & DOTTED == DOTTED and "." in plain)
        elif len(plain) >= EXACT_DIGITS:
            found = (int(cell) for cell, known in zip(cells, shapes, strict=True) if known == shape)
            self.largest = max(self.largest, *map(abs, found), 0)

    def formats(self, decimal: str | None = None, thousands: str | None = None) -> list[NumberFormat]:
        """The formats that all numbers fit, the simplest first; two with another `decimal` give other numbers.

        Args:
            decimal, thousands: what is stated of the format; None: nothing.
        """
        fitting = [known for place, known in enumerate(FORMATS) if self._common >> place & 1]
        fitting = [known for known in fitting if decimal in (None, known.decimal)]
        if thousands is not None:
            return [
                known
                for known in fitting
                if known.thousands in ("", thousands) and known.decimal != thousands
            ]
        undivided = [known for known in fitting if not known.thousands]
        # 0.567, or 1234 beside 1.234: the mark does not divide thousands.
        return undivided if undivided and (self._resolved or not self.marked) else fitting
