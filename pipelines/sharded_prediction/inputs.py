"""The files to predict: found and named by their content when a prediction begins, and read only while they have it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tidegate.infra.store import BUCKETS, Bucket, digest_of, open_bucket
from tidegate.infra.system.files import temporary
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.sharded_prediction.document import InputFile
from tidegate.pipelines.sharded_prediction.listing import Keys, files_of

SHA256 = "sha256:"
Endpoint = Callable[[str], str | None]  # the server of a bucket's URL
Stamp = tuple[int, ...]  # what a file's system says of its content


def no_endpoint(_url: str) -> None:
    """The server of every bucket is the one that its cloud's library finds."""


class ChangedInputError(PipelineError):
    """An input is no longer what it was when the prediction began."""


class Inputs(NamedTuple):
    """The files, and of those on this machine, by path, how they were when their content was named."""

    files: tuple[InputFile, ...]
    stamps: dict[str, Stamp]


def find_inputs(sources: Sequence[str], endpoint: Endpoint) -> Inputs:
    """The files of each source, sorted by name; the sources in the order given.

    Of a folder, and of a pattern, files and folders whose names begin with `.` or `_` are left out, as Spark and
    Hadoop name what is no data. Links are followed.

    Raises:
        UsageError: there are none, one is there twice, or one cannot be read.
        ChangedInputError: one changed while it was read.
    """
    found = [file for source in sources for file in _found(source, endpoint)]
    seen = set[str]()
    for file, _ in found:
        if file.path in seen:
            raise UsageError(f"--input: {file.path} is there twice; expected each file once; leave one out")
        seen.add(file.path)
    stamps = {file.path: stamp for file, stamp in found if stamp}
    return Inputs(tuple(file for file, _ in found), stamps)


def _found(source: str, endpoint: Endpoint) -> list[tuple[InputFile, Stamp]]:
    scheme, mark, _ = source.partition("://")
    if mark and scheme not in BUCKETS:
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise UsageError(
            f"--input {source}: expected a file, a folder, or one of {known}; copy the data there"
        )
    files: list[tuple[InputFile, Stamp]]
    files = [(file, ()) for file in _of_bucket(source, endpoint)] if mark else _of_machine(source)
    if not files:
        raise UsageError(
            f"--input {source}: there is nothing; expected a file, files below it, or a pattern that matches some; "
            "check the name"
        )
    return files


def _of_machine(source: str) -> list[tuple[InputFile, Stamp]]:
    try:
        return [_named(path) for path in files_of(source)]
    except OSError as error:
        raise UsageError(f"--input {error.filename}: {error.strerror}; expected readable files") from error


def _named(path: Path) -> tuple[InputFile, Stamp]:
    """A file by its content, and its stamp from before it was read."""
    stamp = _stamp(path)
    digest = digest_of(path)
    if _stamp(path) != stamp:
        raise ChangedInputError(
            f"{path} changed while it was read; expected files that nobody writes; wait until it is whole"
        )
    return InputFile(path=str(path), size=stamp[1], etag=SHA256 + digest), stamp


def _of_bucket(source: str, endpoint: Endpoint) -> list[InputFile]:
    root, key = _split(source)
    bucket = open_bucket(root, endpoint(root))
    if key and not key.endswith("/") and (only := bucket.stat(key)):
        return [InputFile(path=source, size=only.size, etag=only.etag)]
    keys = Keys(source, key)
    found = [one for one in bucket.list_objects(keys.prefix) if keys.has(one.key)]
    return [InputFile(path=f"{root}/{one.key}", size=one.size, etag=one.etag) for one in found]


def _split(url: str) -> tuple[str, str]:
    """The bucket's URL, and the key in it."""
    scheme, _, address = url.partition("://")
    name, _, key = address.partition("/")
    return f"{scheme}://{name}", key


class InputReader:
    """Gives input files as local files, and refuses what has changed.

    Args:
        work: a folder for copies.
        endpoint: of a bucket's URL.
        stamps: of the files whose content was looked at by this process when it began, see `Inputs`.
    """

    def __init__(self, work: Path, endpoint: Endpoint, stamps: Mapping[str, Stamp] | None = None) -> None:
        self._work, self._stamps = work, stamps or {}
        self._bucket = cache(lambda root: open_bucket(root, endpoint(root)))  # one client for all files

    @contextmanager
    def local(self, file: InputFile) -> Iterator[Path]:
        """A path with the file's content and its suffix: its own, or that of a copy, which is removed afterwards.

        Raises:
            ChangedInputError: it has changed, also where that was while it was read.
        """
        if "://" not in file.path:
            yield from self._checked(file)
            return
        folder = temporary(self._work)
        copy = folder / PurePosixPath(file.path).name
        try:
            folder.mkdir()
            self._copy(file, copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)
            folder.rmdir()

    def _checked(self, file: InputFile) -> Iterator[Path]:
        path = Path(file.path)
        before = self._stamps.get(file.path)
        if before is None:  # nobody has read it in this process
            found, before = _named(path)
            self._check(file, found == file)
        self._check(file, _stamp(path) == before)
        yield path
        self._check(file, _stamp(path) == before)

    def _copy(self, file: InputFile, copy: Path) -> None:
        root, key = _split(file.path)
        bucket = self._bucket(root)
        self._check_there(file, bucket, key)
        with copy.open("xb") as stream:
            bucket.download(key, stream)
        self._check_there(file, bucket, key)

    def _check_there(self, file: InputFile, bucket: Bucket, key: str) -> None:
        found = bucket.stat(key)
        self._check(file, found is not None and (found.size, found.etag) == (file.size, file.etag))

    @staticmethod
    def _check(file: InputFile, same: bool) -> None:
        if not same:
            raise ChangedInputError(
                f"{file.path} changed since the prediction began; expected {file.etag}; put the same content back and "
                "give the command again, or predict into another --output"
            )


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
