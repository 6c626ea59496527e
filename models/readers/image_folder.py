"""A folder with one sub folder a class, full of image files.

All images are brought to the size of the first, and to gray or colour as the first is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.columns import Array, Columns, unknown_column
from models.errors import FormatError, SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
GRAY = {"1", "L", "LA", "I", "I;16", "F"}
NAMES = ("image", "label")
ROWS = 1024  # a chunk


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks with columns `image`, uint8 `(n, h, w)` or `(n, h, w, 3)`, and `label`, the folder's name."""
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    files = _files(path)
    first = open_image(files[0])
    mode, size = "L" if first.mode in GRAY else "RGB", _usual_size(files)
    for start in range(0, len(files), ROWS):
        part = files[start : start + ROWS]
        images = np.stack([pixels(file, mode, size) for file in part])
        labels = np.array([file.parent.name for file in part], object)
        yield {name: {"image": images, "label": labels}[name] for name in columns or NAMES}


def _usual_size(files: Sequence[Path]) -> tuple[int, int]:
    """The size that most images have; the others are resized to it, and that is said."""
    sizes = Counter(open_image(file).size for file in files)
    usual, count = sizes.most_common(1)[0]
    if count < len(files):
        print(
            f"{len(files) - count} of {len(files)} images are resized to {usual[0]}x{usual[1]}, as most are"
        )
    return usual


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise SourceError(f"{path} is a file; expected a folder with one folder a class; name that folder")
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise FormatError(f"{path} has no folders in it; expected one a class; sort the images into them")
    return [file for folder in classes for file in _images(folder)]


def _images(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise FormatError(
            f"class folder {folder} has no images; expected files ending in {', '.join(sorted(SUFFIXES))}; "
            "fill it or remove it"
        )
    return found


def open_image(file: Path) -> Image:
    """An image file, decoded; raises FormatError."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(
            f"image {file} cannot be read: {error}; expected a whole image file; replace or remove it"
        ) from error


def pixels(file: Path, mode: str, size: tuple[int, int]) -> Array:
    """An image file as uint8 `(h, w)` (mode L) or `(h, w, 3)` (RGB), resized to `size` (w, h)."""
    image = open_image(file).convert(mode)
    return np.asarray(image if image.size == size else image.resize(size), np.uint8)
