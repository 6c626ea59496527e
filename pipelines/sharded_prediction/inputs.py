"""The files to predict: found and named by their content when a prediction begins, and read only while they have it."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tidegate.infra.store import BUCKETS, Bucket, open_bucket
from tidegate.infra.system.files import temporary
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.sharded_prediction.document import InputFile

WILD = "*?["
SHA256 = "sha256:"
Endpoint = Callable[[str], str | None]  # the server of a bucket's URL


def no_endpoint(_url: str) -> None:
    """The server of every bucket is the one that its cloud's library finds."""


class ChangedInputError(PipelineError):
    """An input is no longer what it was when the prediction began."""


def find_inputs(sources: Sequence[str], endpoint: Endpoint) -> tuple[InputFile, ...]:
    """The files of each source, sorted by name; the sources in the order given.

    Of a folder, and of a pattern, files and folders whose names begin with `.` or `_` are left out, as Spark and
    Hadoop name what is no data.

    Raises:
        UsageError: there are none, or one is there twice.
    """
    found = [file for source in sources for file in _found(source, endpoint)]
    seen = set[str]()
    for file in found:
        if file.path in seen:
            raise UsageError(f"--input: {file.path} is there twice; expected each file once; leave one out")
        seen.add(file.path)
    return tuple(found)


def _found(source: str, endpoint: Endpoint) -> list[InputFile]:
    scheme, mark, _ = source.partition("://")
    if mark and scheme not in BUCKETS:
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise UsageError(
            f"--input {source}: expected a file, a folder, or one of {known}; copy the data there"
        )
    files = _of_bucket(source, endpoint) if mark else _of_machine(source)
    if not files:
        raise UsageError(
            f"--input {source}: there is nothing; expected a file, files below it, or a pattern that matches some; "
            "check the name"
        )
    return files


def _of_machine(source: str) -> list[InputFile]:
    path = Path(source).absolute()
    if path.is_file():
        paths = [path]
    elif path.is_dir():
        below = (found for found in path.rglob("*") if found.is_file())
        paths = sorted(found for found in below if _is_data(found.relative_to(path).parts))
    else:
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        paths = sorted(found for found in matches if found.is_file() and _is_data((found.name,)))
    try:
        return [_named(path) for path in paths]
    except OSError as error:
        raise UsageError(f"--input {error.filename}: {error.strerror}; expected readable files") from error


def _named(path: Path) -> InputFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputFile(path=str(path), size=path.stat().st_size, etag=SHA256 + digest)


def _of_bucket(source: str, endpoint: Endpoint) -> list[InputFile]:
    bucket, key, root = _bucket_of(source, endpoint)
    wild = next((place for place, letter in enumerate(key) if letter in WILD), None)
    if key and not key.endswith("/") and (only := bucket.stat(key)):
        return [InputFile(path=source, size=only.size, etag=only.etag)]
    if wild is None:
        below = f"{key.rstrip('/')}/" if key else ""
        found = [one for one in bucket.list_objects(below) if _is_data(_parts(one.key.removeprefix(below)))]
    else:
        listed = bucket.list_objects(key[:wild])
        found = [one for one in listed if _matches(one.key, key) and _is_data(_parts(one.key)[-1:])]
    files = [one for one in found if not one.key.endswith("/")]
    return [InputFile(path=f"{root}/{one.key}", size=one.size, etag=one.etag) for one in files]


def _parts(key: str) -> tuple[str, ...]:
    return PurePosixPath(key).parts


def _matches(key: str, pattern: str) -> bool:
    """As a shell does: `*` stands for no slash."""
    return len(_parts(key)) == len(_parts(pattern)) and PurePosixPath(key).match(pattern)


def _is_data(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _bucket_of(url: str, endpoint: Endpoint) -> tuple[Bucket, str, str]:
    """The bucket, the key in it, and the bucket's URL."""
    scheme, _, address = url.partition("://")
    name, _, key = address.partition("/")
    root = f"{scheme}://{name}"
    return open_bucket(root, endpoint(url)), key, root


class InputReader:
    """Gives input files as local files, and refuses what has changed.

    Args:
        work: a folder for copies.
        endpoint: of a bucket's URL.
        seen: the files whose content was looked at by this process when it began.
    """

    def __init__(self, work: Path, endpoint: Endpoint, seen: Sequence[InputFile] = ()) -> None:
        self._work, self._endpoint = work, endpoint
        self._stamps = {file.path: _stamp(file) for file in seen if "://" not in file.path}

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
        before = self._stamps.get(file.path)
        if before is None:  # nobody has read it in this process
            self._check(file, _named(Path(file.path)) == file)
            before = _stamp(file)
        self._check(file, _stamp(file) == before)
        yield Path(file.path)
        self._check(file, _stamp(file) == before)

    def _copy(self, file: InputFile, copy: Path) -> None:
        bucket, key, _ = _bucket_of(file.path, self._endpoint)
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


def _stamp(file: InputFile) -> tuple[int, ...]:
    try:
        found = Path(file.path).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
