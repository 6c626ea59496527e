"""What `tidegate predict` reads: files of any kind, as chunks of rows for an endpoint.

Only one chunk is in memory at a time, however large the file is. A chunk that is skipped is read and not made into
rows. To add a format, write a module with
`open_batch_input(path, inputs, size) -> BatchInput` and name it in `_module_of`.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tidegate.models.data.read_options import CsvOptions
from tidegate.models.data.sources import format_of_name
from tidegate.models.errors import ModelsError
from tidegate.pipelines.batch.wording import of_options
from tidegate.pipelines.errors import PipelineError, UsageError

Rows = list[Any]


@dataclass(frozen=True)
class Chunk:
    """Some rows that are made only when they are asked for: whoever skips them pays for reading alone.

    Attributes:
        count: number of rows.
        rows: makes them, as a request has them.
    """

    count: int
    rows: Callable[[], Rows]


class Repeatable(Iterable[Chunk]):
    """Chunks of a file that can be read again from the start; `begin` starts."""

    def __init__(self, begin: Callable[[], Iterator[Chunk]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[Chunk]:
        return self._begin()


@dataclass(frozen=True)
class BatchInput:
    """The rows to predict, and what is known of them.

    Attributes:
        parts: the rows in chunks; of a file they can be iterated over several times.
        total: number of rows, exact or about, for a progress bar; None: not known.
        names: the file of each row, where a row is a file.
    """

    parts: Iterable[Chunk]
    total: int | None = None
    names: Sequence[str] | None = None

    @property
    def chunks(self) -> Iterator[Rows]:
        """Rows as a request has them."""
        return (part.rows() for part in self.parts)


def open_batch_input(
    sources: Sequence[str],
    inputs: Sequence[dict[str, Any]],
    size: int,
    as_files: bool = False,
    csv: CsvOptions | None = None,
) -> BatchInput:
    """Open files as rows.

    Args:
        sources: one file or folder, or several image or text files; none, or "-", is JSON on stdin.
        inputs: the contract's inputs.
        size: rows in a chunk.
        as_files: send image files as they are, because predictions are in their own pixels.
        csv: what is stated of a .csv's dialect; None: nothing.

    Raises:
        UsageError: the files cannot be read as rows; also raised while chunks are read.
    """
    if csv is not None and not (sources and format_of_name(Path(sources[0]).name) == "csv"):
        raise UsageError(
            "--csv is given and the rows are no .csv; expected --input FILE.csv; leave --csv out"
        )
    if not sources or list(sources) == ["-"]:
        from tidegate.pipelines.batch.json_rows import from_json

        return from_json(sys.stdin.read(), "stdin", inputs, size)
    from tidegate.models.readers.image_folder import SUFFIXES
    from tidegate.pipelines.batch.documents import are_documents, open_documents

    paths = [Path(source) for source in sources]
    if are_documents(paths, inputs):
        with reading(paths[0]):
            return open_documents(paths, size)
    images = all(path.suffix.lower() in SUFFIXES or _is_folder_of_images(path) for path in paths)
    if len(paths) > 1 and not images:
        raise UsageError(
            f"--input was given {len(paths)} times; expected one file or folder, or several image files; "
            "put the rows into one file"
        )
    if images:
        from tidegate.pipelines.batch.images import open_images

        with reading(paths[0]):
            return open_images(paths, inputs, size, as_files)
    with reading(paths[0]):
        module = import_module(_module_of(paths[0]))
        stated = {} if csv is None else {"csv": csv}
        opened: BatchInput = module.open_batch_input(paths[0], inputs, size, **stated)
        return BatchInput(Repeatable(partial(_guarded, paths[0], opened.parts)), opened.total, opened.names)


def _is_folder_of_images(path: Path) -> bool:
    return path.is_dir() and not any("images-idx3" in entry.name for entry in path.iterdir())


def _module_of(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".json", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")):
        return "tidegate.pipelines.batch.json_rows"
    if name.endswith((".npy", ".npz")):
        return "tidegate.pipelines.batch.arrays"
    return "tidegate.pipelines.batch.tables"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error of reading a file into a UsageError that names the file."""
    try:
        yield
    except PipelineError:
        raise
    except (OSError, ValueError, EOFError, zlib.error, gzip.BadGzipFile, ModelsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"--input {path}: cannot be read as rows: {of_options(str(reason))}") from error


def lines_in(path: Path) -> int | None:
    """About how many lines a text file has; None for a compressed one."""
    if path.suffix == ".gz":
        return None
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def _guarded(path: Path, parts: Iterable[Chunk]) -> Iterator[Chunk]:
    with reading(path):
        for part in parts:
            yield Chunk(part.count, partial(_made, path, part))


def _made(path: Path, part: Chunk) -> Rows:
    with reading(path):
        return part.rows()
