"""A number from the content of a cell, the same however the cell is written.

A whole number is the same as an integer and as a float, a boolean is 1 or 0 even as a text, a date is its seconds since
1970, a missing value is one in numbers and in texts, and blanks around a text do not count. Texts that a model reads
word by word count as they are. A number in a column of texts is a text: "7" is a category, not 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array
from tidegate.models.data.dates import seconds
from tidegate.models.data.item_lists import WRITTEN

Digests = NDArray[np.uint64]

MOST_KNOWN = 1 << 14  # texts whose digests are in memory
NOTHING, TRUE, FALSE = np.array([np.nan, 1.0, 0.0]).view(np.uint64).tolist()
BOOLEANS = {"true": TRUE, "false": FALSE}


def digests_of(column: Array, kind: str, written: str | None = None) -> Digests:
    """64 bits for each value of a column.

    Args:
        column: the values, as `prepare` conforms them.
        kind: of the column, see `Field`.
        written: of a date, its format.
    """
    if kind == "date" and written is not None:
        return _of_numbers(seconds(column, written))
    return cell_digests(column, as_it_is=kind in WRITTEN)


def cell_digests(column: Array, as_it_is: bool = False) -> Digests:
    """64 bits for each value: of a number its own bits, of everything else BLAKE2b; a text counts as it is if asked."""
    if column.dtype == object:
        known: dict[object, int] = {None: 0 if as_it_is else NOTHING}  # as a missing number is
        read = _of_bare_text if as_it_is else _of_text
        return np.fromiter((_known(value, known, read) for value in column.tolist()), np.uint64, len(column))
    if column.ndim == 1 and column.dtype.kind in "biuf":
        return _of_numbers(column)
    rows = column if column.ndim > 1 else column.reshape(-1, 1)
    lengths = _steps(rows).tolist()
    contents = (np.ascontiguousarray(row[:length]) for row, length in zip(rows, lengths, strict=True))
    return np.fromiter((blake(content.tobytes()) for content in contents), np.uint64, len(rows))


def mixed(values: Digests) -> Digests:
    """A one-to-one map in which each bit depends on all; 0 stays 0.

    The finaliser of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def blake(content: bytes | memoryview) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _known(value: object, known: dict[object, int], read: Callable[[str], int]) -> int:
    found = known.get(value)
    if found is None:
        found = read(str(value))
        if len(known) < MOST_KNOWN:
            known[value] = found
    return found


def _of_bare_text(text: str) -> int:
    return blake(text.encode("utf-8", "surrogatepass"))


def _of_text(text: str) -> int:
    plain = text.strip()
    boolean = BOOLEANS.get(plain.lower())
    return _of_bare_text(plain) if boolean is None else boolean


def _of_numbers(column: Array) -> Digests:
    """The bits of the nearest float64, and of what an integer beyond 2^53 has besides."""
    numbers = column.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    bits = np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    if column.dtype.kind not in "iu" or column.dtype.itemsize < 8:
        return bits
    with np.errstate(invalid="ignore"):
        rest = column - numbers.astype(column.dtype)
    return bits ^ mixed(rest.astype(np.uint64))


def _steps(rows: Array) -> NDArray[np.int64]:
    """How many steps each row has: a sequence is padded with NaN to the longest one."""
    whole = np.full(len(rows), rows.shape[1])
    if rows.dtype.kind != "f" or not rows.size or not np.isnan(rows[:, -1]).any():
        return whole
    there: NDArray[np.bool_] = ~np.asarray(np.isnan(rows).reshape(*rows.shape[:2], -1).all(axis=2))
    return np.where(there.any(axis=1), rows.shape[1] - np.argmax(there[:, ::-1], axis=1), 0)
