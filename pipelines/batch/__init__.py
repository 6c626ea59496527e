"""What `tidegate predict` reads: files of any kind as chunks of rows that an endpoint takes.

A feed holds one chunk at a time, however large the file. To add a format, write a module with
`open_feed(path, inputs, size) -> Feed` and name it in `_module_of`.
"""

import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tidegate.models.errors import ModelsError
from tidegate.pipelines.errors import PipelineError, UsageError

Rows = list[Any]


@dataclass(frozen=True)
class Feed:
    """Rows to predict.

    Attributes:
        chunks: rows as a request has them.
        total: how many rows there will be, for a progress bar: exact, or about that many; None: not known.
        names: of each row, where a row is a file.
    """

    chunks: Iterator[Rows]
    total: int | None = None
    names: Sequence[str] | None = None


def open_feed(
    sources: Sequence[str], inputs: Sequence[dict[str, Any]], size: int, whole: bool = False
) -> Feed:
    """The rows of files.

    Args:
        sources: one file or folder, or several image files; none, or "-", is JSON on stdin.
        inputs: the contract's inputs.
        size: rows in a chunk.
        whole: send image files as they are: what is answered is in their own pixels.

    Raises:
        UsageError: the files can not be read as rows; while the chunks are taken, too.
    """
    if not sources or list(sources) == ["-"]:
        return listed(sys.stdin.read(), "stdin", size)
    from tidegate.models.readers.image_folder import SUFFIXES

    paths = [Path(source) for source in sources]
    images = all(path.suffix.lower() in SUFFIXES or _is_folder_of_images(path) for path in paths)
    if len(paths) > 1 and not images:
        raise UsageError(
            f"--input was given {len(paths)} times; expected one file or folder, or several image files; "
            "put the rows into one file"
        )
    if images:
        from tidegate.pipelines.batch.images import open_images

        with reading(paths[0]):
            return open_images(paths, inputs, size, whole)
    with reading(paths[0]):
        feed: Feed = import_module(_module_of(paths[0])).open_feed(paths[0], inputs, size)
        return Feed(_guarded(paths[0], feed.chunks), feed.total, feed.names)


def _is_folder_of_images(path: Path) -> bool:
    return path.is_dir() and not any("images-idx3" in entry.name for entry in path.iterdir())


def _module_of(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".json", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")):
        return "tidegate.pipelines.batch.json_rows"
    if name.endswith((".npy", ".npz")):
        return "tidegate.pipelines.batch.arrays"
    return "tidegate.pipelines.batch.tables"


def listed(text: str, where: str, size: int) -> Feed:
    """A JSON document, a list of rows or `{"rows": [...]}`; raises UsageError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f'{where}: not JSON: {error}; expected a list of rows or {{"rows": [...]}}'
        ) from error
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise UsageError(f'{where}: expected a list of rows or {{"rows": [...]}}; received {text[:60]}')
    return Feed((rows[start : start + size] for start in range(0, len(rows), size)), len(rows))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file is an error of the command line that names it."""
    try:
        yield
    except PipelineError:
        raise
    except (OSError, ValueError, EOFError, zlib.error, gzip.BadGzipFile, ModelsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"--input {path}: can not be read as rows: {reason}") from error


def lines_in(path: Path) -> int | None:
    """About how many lines a text file has; None for a compressed one."""
    if path.suffix == ".gz":
        return None
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def _guarded(path: Path, chunks: Iterator[Rows]) -> Iterator[Rows]:
    with reading(path):
        yield from chunks
