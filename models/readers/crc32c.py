"""CRC-32C of many records at once, in NumPy: the checksum that TFRecord files have (RFC 3720, appendix B.4).

A checksum that begins with 0 is linear over GF(2): zeros before a record change nothing, and that of two pieces is that
of the first, moved on by as many zeros as the second has bytes, plus that of the second (Adler's `crc32_combine` in
zlib). So records are cut into pieces of one length, whose checksums are computed side by side, two bytes a step. That
a checksum begins with all ones instead is the same as to begin with 0 and to invert the record's first four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # of Castagnoli, its bits reversed
PIECE = 1024  # bytes; even
ONES = 0xFFFFFFFF
Words = NDArray[np.uint32]


def crc32c(records: Sequence[bytes]) -> Words:
    """The checksum of each record, uint32 (records,)."""
    lengths = np.array([len(record) for record in records], np.int64)
    pieces = np.maximum(1, -(-lengths // PIECE))
    ends = np.cumsum(pieces)
    bytes_ = np.zeros(int(ends[-1]) * PIECE, np.uint8)
    for record, end in zip(records, (ends * PIECE).tolist(), strict=True):
        start = end - len(record)
        bytes_[start:end] = np.frombuffer(record, np.uint8)
        bytes_[start : min(start + 4, end)] ^= 0xFF
    sums = _side_by_side(bytes_.view("<u2").reshape(-1, PIECE // 2))
    found = _joined(sums, ends, pieces)
    for row in np.flatnonzero(lengths < 4).tolist():
        found[row] = crc32c_short(records[row]) ^ ONES
    return found ^ np.uint32(ONES)


def masked(checksum: int) -> int:
    """A checksum as TFRecord files hold it: turned by 15 bits, plus a constant (tensorflow/core/lib/hash/crc32c.h)."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & ONES


def _side_by_side(words: NDArray[np.uint16]) -> Words:
    table, sums = _two_bytes(), np.zeros(len(words), np.uint32)
    for word in np.ascontiguousarray(words.T):
        sums = table[(sums ^ word) & np.uint32(0xFFFF)] ^ (sums >> np.uint32(16))
    return sums


def _joined(sums: Words, ends: NDArray[np.int64], pieces: NDArray[np.int64]) -> Words:
    found, tables = np.zeros(len(ends), np.uint32), _zeros()
    for back in range(int(pieces.max()), 0, -1):
        has = np.flatnonzero(pieces >= back)
        state = found[has]
        moved = tables[0][state & 0xFF] ^ tables[1][(state >> 8) & 0xFF]
        moved ^= tables[2][(state >> 16) & 0xFF] ^ tables[3][state >> 24]
        found[has] = moved ^ sums[ends[has] - back]
    return found


@cache
def _one_byte() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


@cache
def _two_bytes() -> Words:
    one, table = _one_byte(), np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        table = one[table & 0xFF] ^ (table >> np.uint32(8))
    return table


@cache
def _zeros() -> Words:
    """What PIECE zeros make of a checksum, by each of its bytes, (4, 256)."""
    table = _two_bytes()
    states = (np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]).astype(
        np.uint32
    )
    for _ in range(PIECE // 2):
        states = table[states & 0xFFFF] ^ (states >> np.uint32(16))
    return states


@cache
def _listed() -> list[int]:
    listed: list[int] = _one_byte().tolist()
    return listed


def crc32c_short(record: bytes) -> int:
    """The checksum of a few bytes."""
    table, state = _listed(), ONES
    for byte in record:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ ONES
