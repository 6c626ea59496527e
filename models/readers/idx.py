"""The IDX files of MNIST and similar datasets: an images file and a labels file in the same folder.

The layout, see http://yann.lecun.com/exdb/mnist: two zero bytes, a type code, the number of dimensions, the dimensions
as big-endian 32-bit integers, then the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.sources import idx_labels
from tidegate.models.errors import FormatError, SourceError
from tidegate.models.readers import open_bytes

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAMES = ("image", "label")


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """One chunk per images file, with columns `image` and `label`; a folder can have several images files."""
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    for images in _images(path):
        pair = {"image": load(images), "label": load(_labels(images)).astype(np.int64)}
        if len(pair["image"]) != len(pair["label"]):
            raise FormatError(
                f"{images} has {len(pair['image'])} images and its labels file {len(pair['label'])} labels; "
                "expected one label per image; use files that belong together"
            )
        yield {name: pair[name] for name in columns or NAMES}


def load(path: Path) -> Array:
    """One IDX file as an array, gzipped or not.

    Raises:
        FormatError: not IDX, or cut off.
    """
    with open_bytes(path) as stream:
        content = stream.read()
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise FormatError(
            f"{path} begins with {magic.hex(' ')}; expected an IDX file's two zero bytes, type and "
            "number of dimensions; set the right data.format"
        )
    start = 4 + 4 * magic[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else (1,)
    dtype = np.dtype(TYPES[magic[2]])
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != expected:
        raise FormatError(
            f"{path} has {len(content)} bytes, so it is cut off or damaged; expected {expected} for shape {shape}; "
            "copy it again"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _images(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if "images-idx3" in file.name)
    if not found:
        raise SourceError(
            f"{path} has no images file; expected names such as train-images-idx3-ubyte.gz; "
            "set the right folder"
        )
    return found


def _labels(images: Path) -> Path:
    labels = idx_labels(images)
    if labels == images or not labels.is_file():
        expected = (
            "an images file, such as train-images-idx3-ubyte" if labels == images else f"{labels} next to it"
        )
        raise SourceError(f"{images} has no labels file; expected {expected}; set the images file of a pair")
    return labels
