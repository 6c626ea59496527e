"""What a row is, wherever it stands in the data: a number from its content, which decides its part and finds it again.

A row's digest is BLAKE2b of its values as `prepare` conforms them: 64 bits, so among ten million rows two different
ones share a digest with a probability of 3e-6. Order, file, reader and padding do not change it, nor how a value is
written, see `cell_digests`.

Rows of equal content are copies. They belong together, so that no copy of a training row is a test row, with three
exceptions in which each copy counts as an observation of its own: where its inputs occur with another target too; from
the 51st copy on, or from a twentieth of the rows on; and where the data has fewer than 30 different rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests, blake, digests_of, mixed

MOST_COPIES = 50  # that are kept together
COPIES_PART = 20  # and no more than 1 / COPIES_PART of the rows
FEWEST_DIFFERENT = 30  # rows, below which no copies are kept together
TOGETHER = 1 << 14  # rows whose values are in memory a second time
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class RowIdentity:
    """The digests of `n` rows, uint64 `(n,)` each.

    Attributes:
        inputs: of the inputs alone.
        content: of inputs and target.
        copy: of the content and of how many rows of equal content come before; all different.
        unit: equal for rows that stay in one part: the content, or the copy where each counts for itself.
    """

    inputs: Digests
    content: Digests
    copy: Digests
    unit: Digests


def identify(schema: Schema, columns: Columns) -> RowIdentity:
    """The digests of all rows; columns that the schema does not have are left out."""
    inputs = input_digests(schema, columns)
    content = content_digests(schema, columns, inputs)
    earlier = _earlier_copies(content)
    different = len(content) - int(np.count_nonzero(earlier))
    most = 1 if different < FEWEST_DIFFERENT else _most_copies(len(content))
    copies = copy_digests(content, earlier)
    alone = (earlier >= most) | in_conflict(inputs, content)
    return RowIdentity(inputs, content, copies, np.where(alone, copies, content))


def input_digests(schema: Schema, columns: Columns) -> Digests:
    """A digest of the inputs of each row, in whatever order the columns are."""
    fields = sorted(schema.inputs, key=lambda field: field.name)
    found = [np.zeros(0, np.uint64)]
    for start in range(0, rows_of(columns), TOGETHER):
        cells = [
            digests_of(columns[field.name][start : start + TOGETHER], field.kind, field.format)
            for field in fields
        ]
        found.append(_joined(np.stack(cells, axis=1)))
    return np.concatenate(found)


def content_digests(schema: Schema, columns: Columns, inputs: Digests) -> Digests:
    """A digest of the inputs and the target of each row."""
    content = inputs
    kind = (
        "text"
        if schema.target.task in ("generation", "detection", "multilabel", "tagging")
        else "categorical"
    )
    for name in schema.target.names:
        content = mixed(content * GOLDEN + digests_of(columns[name], kind))
    return content


def copy_digests(content: Digests, earlier: NDArray[np.int64]) -> Digests:
    """A digest of each copy; that of the first one is the content's."""
    return np.where(earlier > 0, mixed(content + earlier.astype(np.uint64) * GOLDEN), content)


def share_of(digests: Digests, purpose: str, seed: int) -> NDArray[np.float64]:
    """A number from 0 below 1 for each digest, evenly spread, independent between purposes and between seeds."""
    key = hashlib.blake2b(f"{purpose} {seed}".encode(), digest_size=8).digest()
    numbers = mixed(mixed(digests ^ np.frombuffer(key, "<u8")) + GOLDEN) >> np.uint64(11)
    return numbers.astype(np.float64) * 2.0**-53


def in_conflict(inputs: Digests, content: Digests) -> NDArray[np.bool_]:
    """Which rows have inputs that occur with another target too."""
    order = np.lexsort((content, inputs))
    of, target = inputs[order], content[order]
    starts = np.flatnonzero(np.append(True, of[1:] != of[:-1])) if len(of) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(of)))
    differs = np.zeros(len(of), np.bool_)
    differs[order] = np.repeat(target[starts] != target[starts + sizes - 1], sizes)
    return differs


class CopyCounter:
    """Finds copies in data that passes in chunks, in memory of a fixed size.

    Counts are kept by a part of the digest, which rows of other content may share, so a row has at least as many
    earlier copies as counted. With a slot for every four rows, MOST_COPIES are not reached by chance.

    Args:
        rows: that will pass.
        memory: bytes that may be used.
    """

    def __init__(self, rows: int, memory: int) -> None:
        slots = 1 << max(10, min((rows // 4).bit_length(), max(1, memory // 4).bit_length() - 1))
        self._counts, self._most = np.zeros(slots, np.uint32), _most_copies(rows)

    def units(self, content: Digests) -> Digests:
        """As `RowIdentity.unit` of the next rows, by the number of copies alone."""
        slots = (content & np.uint64(len(self._counts) - 1)).astype(np.int64)
        earlier = self._counts[slots].astype(np.int64) + _earlier_copies(slots.view(np.uint64))
        np.add.at(self._counts, slots, np.uint32(1))
        return np.where(earlier >= self._most, copy_digests(content, earlier), content)


def _most_copies(rows: int) -> int:
    """How many copies of a row are kept together."""
    return min(MOST_COPIES, max(2, rows // COPIES_PART))


def _earlier_copies(content: Digests) -> NDArray[np.int64]:
    """How many rows of the same content come before each row."""
    order = np.argsort(content, kind="stable")
    ordered, places = content[order], np.arange(len(content))
    starts = np.append(True, ordered[1:] != ordered[:-1])[: len(content)]
    earlier = np.empty(len(content), np.int64)
    earlier[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return earlier


def _joined(cells: Digests) -> Digests:
    """One digest for each row of `(n, k)`."""
    content = memoryview(np.ascontiguousarray(cells, "<u8").tobytes())
    width = 8 * cells.shape[1]
    ends = range(width, width * len(cells) + 1, width)
    return np.fromiter((blake(content[end - width : end]) for end in ends), np.uint64, len(cells))
