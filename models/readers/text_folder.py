"""A folder with one subfolder per class, each with text files; a file is one document, whole.

A text is UTF-8, or says by its first bytes what it is; else Western European (Windows-1252), if its letters make sense
so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.sources import TEXT_SUFFIXES
from tidegate.models.errors import FormatError
from tidegate.models.readers import rows_per_chunk
from tidegate.models.readers.csv_dialect import BOMS, UNLIKELY, WESTERN, is_broken_utf8
from tidegate.models.readers.image_folder import files_by_class

SUFFIXES = {*TEXT_SUFFIXES, ".md", ""}  # some collections name their files by numbers alone
NAMES = ("text", "label")
KINDS = {"text": "text"}
ROWS = 10_000  # per chunk, or fewer if documents are long


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks with columns `text` and `label`, the folder's name.

    Raises:
        FormatError: a file is no text.
    """
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    files = files_by_class(path, SUFFIXES, "texts")
    _tell_others(path, files)
    mean = sum(file.stat().st_size for file in files) / len(files)
    rows, western = rows_per_chunk(2 * mean, ROWS), list[Path]()
    for start in range(0, len(files), rows):
        part = files[start : start + rows]
        texts, labels = np.empty(len(part), object), np.empty(len(part), object)
        if "text" in (columns or NAMES):
            found = [document(file) for file in part]
            texts[:] = [text for text, _ in found]
            western += [file for file, (_, encoding) in zip(part, found, strict=True) if encoding == WESTERN]
        labels[:] = [file.parent.name for file in part]
        yield {name: {"text": texts, "label": labels}[name] for name in columns or NAMES}
    if western:
        tell(
            f"{len(western)} of {len(files)} files in {path.name}, such as {western[0].name}, are not UTF-8 and are "
            f"read as {WESTERN} (Western European); if that is wrong, save them as UTF-8"
        )


def document(file: Path) -> tuple[str, str]:
    """The content of a file, and its encoding; raises FormatError."""
    content = file.read_bytes()
    encoding = next((name for mark, name in BOMS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start}"
        if encoding != "utf-8" or is_broken_utf8(content):
            raise _no_text(file, why) from error
        text, encoding = content.decode(WESTERN, "replace"), WESTERN
        if "\ufffd" in text or UNLIKELY.search(text):
            raise _no_text(file, why) from error
    if "\0" in text:
        raise _no_text(file, "it has a zero byte")
    return text, encoding


def _no_text(file: Path, why: str) -> FormatError:
    return FormatError(
        f"{file} is no UTF-8 text: {why}; expected a text; save it as UTF-8, or take it out of the folder"
    )


def _tell_others(path: Path, files: Sequence[Path]) -> None:
    """Tell files of the class folders that are no documents by their names."""
    classes = dict.fromkeys(file.parent for file in files)
    known = set(files)
    others = [
        file
        for folder in classes
        for file in sorted(folder.iterdir())
        if file.is_file() and file not in known and not file.name.startswith(".")
    ]
    if others:
        tell(
            f"{len(others)} files in {path.name}, such as {others[0].name}, do not end in "
            f"{', '.join(sorted(SUFFIXES - {''}))} and are left out; rename them if they are documents"
        )
