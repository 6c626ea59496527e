"""Which rows are whose: shards are equal parts of the bytes of all files, cut between chunks of rows. Pure functions.

Nobody counts rows first. A shard has a share of a file's bytes, and takes the same share of its chunks: whoever shares
a file with others counts its chunks, and all of them get the same bounds. Chunks are those of a prediction in one
process, so each row is predicted among the same rows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a unit of the input: of `size` bytes those from `start` to before `end`."""

    unit: int
    start: int
    end: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the unit."""
        return self.start == 0 and self.end == self.size

    def bounds(self, chunks: int) -> tuple[int, int]:
        """The first of its chunks, and the first after it that is not."""
        return self._nearest(chunks, self.start), self._nearest(chunks, self.end)

    def _nearest(self, chunks: int, byte: int) -> int:
        """The chunk whose beginning is nearest to this share of the bytes."""
        return (2 * chunks * byte + self.size) // (2 * self.size)


def pieces_of(sizes: Sequence[int], shards: int, shard: int) -> Iterator[Piece]:
    """The pieces of one shard, in order; over all shards each byte is in exactly one piece.

    Args:
        sizes: bytes of each unit; one without any counts as one byte.
        shards: how many there are.
        shard: which, from 0.
    """
    counted = [max(1, size) for size in sizes]
    total = sum(counted)
    first, last = total * shard // shards, total * (shard + 1) // shards
    begins = 0
    for unit, size in enumerate(counted):
        start, end = max(first - begins, 0), min(last - begins, size)
        if start < end:
            yield Piece(unit, start, end, size)
        begins += size
