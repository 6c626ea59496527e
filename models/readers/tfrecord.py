"""TFRecord files of `tf.train.Example`, read without TensorFlow; .gz too.

A feature is a column: a `float_list` or `int64_list` with one value is a number, with more an array; a `bytes_list` is
a UTF-8 string, or an image if it begins like a PNG, JPEG, GIF, BMP or WebP file. The first record of a file decides
what a feature is and its length, the first 4 MiB of records what images become (see `readers.image_survey`); a record
without the feature has a missing value. Every checksum is checked.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord for the frame of a record,
https://protobuf.dev/programming-guides/encoding for what is in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from google_crc32c import value as crc32c

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.image_pixels import ImageForm
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_bytes
from tidegate.models.readers.image_survey import form_of, header, read_pixels

# Not protobuf's classes: they would create a Python object for each number; NumPy reads them all at once.
ROWS = 10_000  # per chunk, or fewer if records are large
BYTES = 4 << 20
LISTS = {1: "bytes_list", 2: "float_list", 3: "int64_list"}
IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class Feature:
    """A feature as in the first record: its list, the number of values, and what images become."""

    kind: str
    length: int
    image: ImageForm | None = None


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks of rows."""
    features: dict[str, Feature] = {}
    with open_bytes(path) as stream:
        for number, records in _records(path, stream):
            rows = [_example(path, number + place, record) for place, record in enumerate(records)]
            if not features:
                for name in columns or ():
                    if name not in rows[0]:
                        raise unknown_column(name, sorted(rows[0]), "input or target")
                features = {
                    name: _feature(path, name, rows)
                    for name in sorted(rows[0])
                    if columns is None or name in columns
                }
            wanted = list(features) if columns is None else columns
            yield {name: _column(path, number, name, features[name], rows) for name in wanted}
    if not features:
        raise FormatError(f"{path} has no records; expected at least one; check how it was written")


def _records(path: Path, stream: BinaryIO) -> Iterator[tuple[int, list[bytes]]]:
    """Records whose checksums are right, some MiB at a time, and the number of the first of them, from 1."""
    number, offset, waiting = 1, 0, 0
    records: list[bytes] = []
    while head := stream.read(12):
        at = f"{path}: record {number + len(records)}, at byte {offset},"
        record = _record(at, head, stream)
        records.append(record)
        offset, waiting = offset + 16 + len(record), waiting + len(record)
        if len(records) == ROWS or waiting >= BYTES:
            yield number, records
            number, waiting, records = number + len(records), 0, []
    if records:
        yield number, records


def _record(at: str, head: bytes, stream: BinaryIO) -> bytes:
    if len(head) < 12:
        raise _cut(at)
    length, told = struct.unpack("<QI", head)
    if masked_crc32c(head[:8]) != told:
        raise FormatError(
            f"{at} has a length whose checksum is wrong; expected a TFRecord file; copy or write it again, or "
            "state the right data.format"
        )
    body = stream.read(length + 4)
    if len(body) < length + 4:
        raise _cut(at)
    record, told = body[:-4], int.from_bytes(body[-4:], "little")
    found = masked_crc32c(record)
    if found != told:
        raise FormatError(
            f"{at} is corrupt: its checksum is {found:08x}, expected {told:08x}; copy or write the file again"
        )
    return record


def masked_crc32c(content: bytes) -> int:
    """A checksum as TFRecord files hold it: turned by 15 bits, plus a constant (tensorflow/core/lib/hash/crc32c.h)."""
    checksum: int = crc32c(content)
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _cut(at: str) -> FormatError:
    return FormatError(
        f"{at} is cut off by the end of the file; expected a whole file; copy or write it again"
    )


def _example(path: Path, number: int, record: bytes) -> dict[str, tuple[str, list[Any] | Array]]:
    """Each feature's list and values: Example -> features -> a map of names to features -> one of three lists."""
    found: dict[str, tuple[str, list[Any] | Array]] = {}
    view = memoryview(record)
    try:
        for features in _messages(view, 1):
            for entry in _messages(features, 1):
                name, value = b"", memoryview(b"")
                for key, _, content in _fields(entry):
                    name, value = (bytes(content), value) if key == 1 else (name, content)
                for kind, _, content in _fields(value):
                    if kind in LISTS:
                        found[name.decode()] = (LISTS[kind], _values(kind, content))
    except (IndexError, ValueError, TypeError, struct.error) as error:
        raise FormatError(
            f"{path}: record {number} is no tf.train.Example: {error}; expected one in each record; serialise "
            "tf.train.Example messages into it"
        ) from error
    return found


def _messages(buffer: memoryview, number: int) -> Iterator[memoryview]:
    for key, wire, content in _fields(buffer):
        if key == number and wire == LENGTH:
            yield content


def _fields(buffer: memoryview) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type and content."""
    place = 0
    while place < len(buffer):
        key, place = _varint(buffer, place)
        wire = key & 7
        if wire == VARINT:
            value, place = _varint(buffer, place)
            yield key >> 3, wire, value
            continue
        if wire == LENGTH:
            size, place = _varint(buffer, place)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + size > len(buffer):
            raise ValueError("a field is longer than the record")
        yield key >> 3, wire, buffer[place : place + size]
        place += size


def _varint(buffer: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _values(kind: int, buffer: memoryview) -> list[Any] | Array:
    """The values of a list; numbers are packed together, or each has its own field."""
    fields = list(_fields(buffer))
    if kind == 1:
        return [bytes(content) for _, _, content in fields]
    if kind == 2:
        return np.concatenate(
            [np.frombuffer(content, "<f4") for _, _, content in fields] or [np.zeros(0, "<f4")]
        )
    if all(wire == VARINT for _, wire, _ in fields):
        return np.array([value for _, _, value in fields], np.uint64).astype(np.int64)
    return np.concatenate([_packed(content) for _, _, content in fields])


def _packed(buffer: memoryview) -> Array:
    """Varints one after the other, each ending with a byte below 128, as int64."""
    octets = np.frombuffer(buffer, np.uint8)
    last = np.flatnonzero(octets < 0x80)
    if not len(octets) or last[-1] != len(octets) - 1:
        raise ValueError("a packed number is cut off")
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = 7 * (np.arange(len(octets)) - np.repeat(first, last - first + 1))
    if shifts.max() > 63:
        raise ValueError("a number has more than 64 bits")
    parts = (octets & 0x7F).astype(np.uint64) << shifts.astype(np.uint64)
    return np.add.reduceat(parts, first).astype(np.int64)


def _feature(path: Path, name: str, rows: list[dict[str, tuple[str, list[Any] | Array]]]) -> Feature:
    kind, values = rows[0][name]
    if not len(values):
        raise FormatError(
            f"{path}: feature {name!r} has no value in the first record, which decides its type; expected one; "
            "put a record with a value first"
        )
    if kind != "bytes_list":
        return Feature(kind, len(values))
    if len(values) > 1:
        raise FormatError(
            f"{path}: feature {name!r} holds {len(values)} strings in a record; expected one; join them, or leave the "
            "feature out of data.inputs"
        )
    if not values[0].startswith(IMAGES):
        return Feature(kind, 1)
    held = [
        (place, row[name][1][0]) for place, row in enumerate(rows, 1) if name in row and len(row[name][1])
    ]
    names = [_place(path, place, name) for place, _ in held]
    headers = [header(at, content) for at, (_, content) in zip(names, held, strict=True)]
    return Feature(kind, 1, form_of(names, headers))


def _place(path: Path, number: int, name: str) -> str:
    return f"{path}, record {number}, feature {name!r},"


def _column(path: Path, number: int, name: str, feature: Feature, rows: list[dict[str, Any]]) -> Array:
    values = []
    for place, row in enumerate(rows):
        kind, given = row.get(name, (feature.kind, ()))
        if kind != feature.kind or len(given) not in (0, feature.length):
            raise FormatError(
                f"{path}: record {number + place}: feature {name!r} is a {kind} of {len(given)}; expected a "
                f"{feature.kind} of {feature.length}, as in the first record; pad or crop it to one length"
            )
        values.append(given if len(given) else None)
    if feature.kind != "bytes_list":
        return _numbers(feature, values)
    if feature.image is not None:
        return _images(path, number, name, feature.image, values)
    texts = np.empty(len(values), object)
    for place, given in enumerate(values):
        try:
            texts[place] = None if given is None else given[0].decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{path}: record {number + place}: feature {name!r} holds bytes that are neither text in UTF-8 nor an "
                "image file; expected one of them; write numbers as an int64_list or a float_list"
            ) from error
    return texts


def _numbers(feature: Feature, values: list[Any]) -> Array:
    absent = any(given is None for given in values)
    blank = np.full(feature.length, np.nan)
    stacked = np.stack([blank if given is None else given for given in values])
    if not absent:
        stacked = stacked.astype(np.float32 if feature.kind == "float_list" else np.int64)
    return stacked[:, 0] if feature.length == 1 else stacked


def _images(path: Path, number: int, name: str, form: ImageForm, values: list[Any]) -> Array:
    found = []
    for place, given in enumerate(values):
        at = _place(path, number + place, name)
        if given is None:
            raise FormatError(f"{at} has no image; expected one in each record; leave the record out")
        if form.channels == 1 and header(at, given[0]).colour:
            tell(
                f"{path}: feature {name!r} has colour images after gray ones: they are read as gray; shuffle the file"
            )
        found.append(read_pixels(at, form, given[0]))
    return np.stack(found)
