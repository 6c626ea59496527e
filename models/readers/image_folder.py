"""A folder with one subfolder per class, each with image files.

What all images become is in `readers.image_survey`. They are decoded one chunk at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import FormatError, SourceError
from tidegate.models.readers import rows_per_chunk
from tidegate.models.readers.image_survey import form_of, header, read_pixels

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
NAMES = ("image", "label")
ROWS = 1024  # per chunk, or fewer if images are large


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks with columns `image` and `label`, the folder's name.

    Images are uint8 `(n, h, w, 3)`, or gray ones `(n, h, w)` in uint8, uint16, int32 or float32.
    """
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    files = files_by_class(path, SUFFIXES, "images")
    form = form_of(files, [header(file) for file in files])
    rows = rows_per_chunk(form.bytes, ROWS)
    for start in range(0, len(files), rows):
        part = files[start : start + rows]
        images = np.stack([read_pixels(file, form) for file in part])
        labels = np.array([file.parent.name for file in part], object)
        yield {name: {"image": images, "label": labels}[name] for name in columns or NAMES}


def files_by_class(path: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """The files of a folder with one subfolder per class, class by class, sorted.

    Args:
        path: the folder.
        suffixes: of the files; others are skipped, as hidden ones are.
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
    _tell_misplaced(path, classes, what)
    return [file for folder in classes for file in _of_class(folder, suffixes, what)]


def _tell_misplaced(path: Path, classes: Sequence[Path], what: str) -> None:
    """Tell files beside the class folders, and folders in them."""
    files = [entry for entry in path.iterdir() if entry.is_file()]
    folders = [entry for folder in classes for entry in folder.iterdir() if entry.is_dir()]
    found = sorted(entry for entry in (*files, *folders) if not entry.name.startswith("."))
    if found:
        tell(
            f"{len(found)} files or folders in {path.name}, such as {found[0].relative_to(path)}, are left out: {what} "
            "are the files of a class folder, not those beside it or deeper; move them if they count"
        )


def _of_class(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    found = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".")
    )
    if not found:
        raise FormatError(
            f"class folder {folder} has no {what}; expected files ending in {', '.join(sorted(suffixes))}; "
            "fill it or remove it"
        )
    return found
