"""A folder with one subfolder per class, each with image files.

All images are resized to the most common size, and converted to gray or colour like the first one. They are decoded
one chunk at a time.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.errors import FormatError, SourceError
from tidegate.models.readers import rows_per_chunk

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
GRAY = {"1", "L", "LA", "I", "I;16", "F"}
NAMES = ("image", "label")
ROWS = 1024  # per chunk, or fewer if images are large


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks with columns `image`, uint8 `(n, h, w)` or `(n, h, w, 3)`, and `label`, the folder's name."""
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    files = files_by_class(path, SUFFIXES, "images")
    mode, size = mode_of(open_image(files[0])), _usual_size(files)
    rows = rows_per_chunk(size[0] * size[1] * (1 if mode == "L" else 3), ROWS)
    for start in range(0, len(files), rows):
        part = files[start : start + rows]
        images = np.stack([pixels(file, mode, size) for file in part])
        labels = np.array([file.parent.name for file in part], object)
        yield {name: {"image": images, "label": labels}[name] for name in columns or NAMES}


def _usual_size(files: Sequence[Path]) -> tuple[int, int]:
    """The most common size (w, h); says how many images will be resized to it."""
    sizes = Counter(open_image(file, whole=False).size for file in files)
    usual, count = sizes.most_common(1)[0]
    if count < len(files):
        print(
            f"{len(files) - count} of {len(files)} images are resized to {usual[0]}x{usual[1]}, the most common size"
        )
    return usual


def files_by_class(path: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """The files of a folder with one subfolder per class, class by class, sorted.

    Args:
        path: the folder.
        suffixes: of the files; others are skipped.
        what: what the files are called in an error.

    Raises:
        SourceError, FormatError: the folder has no such layout, or a class has no files.
    """
    if not path.is_dir():
        raise SourceError(f"{path} is a file; expected a folder with one folder per class; set that folder")
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise FormatError(
            f"{path} has no folders in it; expected one per class; sort the {what} into folders"
        )
    return [file for folder in classes for file in _of_class(folder, suffixes, what)]


def _of_class(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    if not found:
        raise FormatError(
            f"class folder {folder} has no {what}; expected files ending in {', '.join(sorted(suffixes))}; "
            "fill it or remove it"
        )
    return found


def mode_of(image: Image) -> str:
    """The mode an image is converted to: "L" if it is gray, else "RGB"."""
    return "L" if image.mode in GRAY else "RGB"


def open_image(file: Path | str, content: bytes | None = None, *, whole: bool = True) -> Image:
    """Open an image file.

    Args:
        file: its path; with `content`, its name in errors.
        content: the image's bytes, if it is not a file of its own.
        whole: decode it; else only size and mode are read.

    Raises:
        FormatError: it is not an image, or damaged.
    """
    from PIL import Image

    try:
        with Image.open(file if content is None else io.BytesIO(content)) as image:
            if whole:
                image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(
            f"image {file} cannot be read: {error}; expected a complete image file; replace or remove it"
        ) from error


def pixels(file: Path | str, mode: str, size: tuple[int, int], content: bytes | None = None) -> Array:
    """An image file as uint8 `(h, w)` (mode L) or `(h, w, 3)` (RGB), resized to `size` (w, h); see `open_image`."""
    image = open_image(file, content).convert(mode)
    return np.asarray(image if image.size == size else image.resize(size), np.uint8)
