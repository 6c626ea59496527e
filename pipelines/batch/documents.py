"""Text files, or a folder of them: a file is one row."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.models.data.sources import TEXT_SUFFIXES
from tidegate.models.readers.text_folder import SUFFIXES, document
from tidegate.pipelines.batch import BatchInput, Chunk, Repeatable, Rows, reading
from tidegate.pipelines.errors import UsageError


def are_documents(paths: Sequence[Path], inputs: Sequence[dict[str, Any]]) -> bool:
    """Whether the endpoint takes one text, and folders or text files are given."""
    one_text = len(inputs) == 1 and inputs[0]["kind"] == "text"
    return one_text and all(path.is_dir() or path.suffix.lower() in TEXT_SUFFIXES for path in paths)


def open_documents(paths: Sequence[Path], size: int) -> BatchInput:
    """One row per file, in the order given; a folder stands for all texts in it and below, sorted.

    Raises:
        UsageError: there is none.
    """
    files = [file for path in paths for file in (_texts_in(path) if path.is_dir() else [path])]
    if not files:
        ends = ", ".join(sorted(SUFFIXES - {""}))
        raise UsageError(f"--input {paths[0]}: no text is in it; expected files ending in {ends}")
    return BatchInput(Repeatable(partial(_chunks, files, size)), len(files), [str(file) for file in files])


def _texts_in(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
    return sorted(file for file in found if not file.name.startswith("."))


def _chunks(files: Sequence[Path], count: int) -> Iterator[Chunk]:
    for start in range(0, len(files), count):
        part = files[start : start + count]
        yield Chunk(len(part), partial(_rows, part))


def _rows(files: Sequence[Path]) -> Rows:
    rows = []
    for file in files:
        with reading(file):
            rows.append(document(file)[0])
    return rows
