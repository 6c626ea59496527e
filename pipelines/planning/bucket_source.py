"""Data in a bucket of any cloud: described by a listing, and copied to be read."""

import hashlib
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tidegate.infra.errors import StoreError
from tidegate.infra.store import BUCKETS, Bucket, ObjectInfo, open_bucket
from tidegate.infra.system.files import translate_os_errors
from tidegate.models.data.sources import (
    bytes_in_memory,
    format_of_classes,
    format_of_name,
    guess_format,
    idx_labels,
)
from tidegate.pipelines.errors import ExperimentError, PipelineError

SCHEMES = tuple(f"{name}://" for name in BUCKETS)
FORMS = "s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY"
SINGLE_REQUEST = 8 << 20  # bytes; up to this size an object is read in one request
PARALLEL_COPIES = 8


class Listing(NamedTuple):
    """A source in a bucket: its name, whether it is a folder, and its objects by path, which begins with the name."""

    bucket: Bucket
    name: str
    folder: bool
    objects: dict[str, ObjectInfo]

    def digest(self) -> str:
        """SHA-256 (hex) over paths, sizes and etags: it changes with the content, and no object is read."""
        lines = (f"{path} {found.size} {found.etag}\n" for path, found in sorted(self.objects.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


class BucketSource:
    """A file or a folder in a bucket: described by one listing, and copied to be read.

    Args:
        url: s3://BUCKET/KEY of a file, or s3://BUCKET/PREFIX of a folder; the same with gs:// and az://.
        stated: its format; None: detected from the names.
        endpoint: the server; default: as for `open_bucket`.

    Every method may raise:
        ExperimentError: there is nothing at the URL.
        StoreError: the bucket cannot be reached.
    """

    def __init__(self, url: str, stated: str | None = None, endpoint: str | None = None) -> None:
        self._url, self._stated, self._endpoint = url, stated, endpoint

    @cached_property
    def _listing(self) -> Listing:
        return _list(self._url, self._endpoint)

    def digest(self) -> str:
        """The digest of the listing; no object is read."""
        return self._listing.digest()

    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes, by path."""
        return {path: found.size for path, found in self._listing.objects.items()}

    def size(self) -> int:
        """About how many bytes the rows take in memory."""
        return bytes_in_memory(self.sizes(), self.format())

    def format(self) -> str:
        """The stated format, or else the one detected from the names.

        Raises:
            ExperimentError, SourceError: no format could be detected.
        """
        if self._stated is not None:
            return self._stated
        listing = self._listing
        if not listing.folder:
            return guess_format(Path(listing.name))
        paths = [PurePosixPath(path) for path in listing.objects]
        if any("images-idx3" in path.name for path in paths):
            return "idx"
        if any(len(path.parts) > 2 for path in paths):
            return format_of_classes([path.name for path in paths])
        formats = {format_of_name(path.name) for path in paths}
        if len(formats) == 1 and (found := formats.pop()):
            return found
        raise ExperimentError(
            f"data.source: the format of {self._url} is unknown; expected a name ending such as .npz, .csv, .parquet "
            "or .jsonl, or a folder with one folder per class; state data.format"
        )

    def fetch(self, folder: Path, expected: str | None = None) -> Path:
        """Copy it into a folder and return its path there.

        Args:
            folder: created if missing.
            expected: the digest in the plan.

        Raises:
            PipelineError: it changed since the run was planned, or while it was read.
        """
        listing = self._listing
        from concurrent.futures import ThreadPoolExecutor  # a plan of local data does without

        with ThreadPoolExecutor(PARALLEL_COPIES) as pool:
            list(pool.map(lambda path: _copy(listing, path, folder), listing.objects))
        if _list(self._url, self._endpoint).digest() != (expected or listing.digest()):
            raise PipelineError(
                f"data.source: {self._url} changed since the run was planned, or while it was read; "
                "submit again when nothing writes there"
            )
        return folder / listing.name

    def verify(self, expected: str | None) -> None:
        """Nothing: `fetch` has checked the copy, which is what was read."""
        del expected


def _copy(listing: Listing, path: str, folder: Path) -> None:
    target, found = inside(folder, path), listing.objects[path]
    with translate_os_errors(StoreError, target, "Writing"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if found.size > SINGLE_REQUEST:
            with target.open("xb") as file:
                listing.bucket.download(found.key, file)
        elif content := listing.bucket.get(found.key):
            target.write_bytes(content[0])


def inside(folder: Path, path: str) -> Path:
    """A path below a folder.

    Raises:
        PipelineError: it leads out of the folder.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise PipelineError(f"the data has a file named {path!r}, which leads out of its folder; rename it")
    return folder.joinpath(*parts)


def _list(url: str, endpoint: str | None) -> Listing:
    """Look for a file of this name first, then for a folder: other keys may begin with the same letters."""
    scheme, _, address = url.partition("://")
    bucket_name, _, path = address.partition("/")
    open_bucket(url, endpoint)  # an address that is none is told as it was given
    bucket, key = open_bucket(f"{scheme}://{bucket_name}", endpoint), path.strip("/")
    prefix = key and f"{key}/"
    name = key.rpartition("/")[2]
    if key and not url.endswith("/") and (files := _files(bucket, key)):
        return Listing(bucket, name, False, files)
    below = {found.key.removeprefix(prefix): found for found in bucket.list_objects(prefix)}
    objects = {f"{name or bucket_name}/{path}": found for path, found in below.items() if _is_data(path)}
    if not objects:
        raise ExperimentError(
            f"data.source: there is nothing at {url}; expected a file, or files below it; check the name"
        )
    return Listing(bucket, name or bucket_name, True, objects)


def _files(bucket: Bucket, key: str) -> dict[str, ObjectInfo]:
    """The file, and for idx images also their labels; empty if there is no such file."""
    images = PurePosixPath(key)
    found = {path.name: bucket.stat(str(path)) for path in (images, idx_labels(images))}
    return {name: entry for name, entry in found.items() if entry} if found[images.name] else {}


def _is_data(path: str) -> bool:
    """Whether a path is data: not a folder's own marker, and not hidden; the same as for local folders."""
    return not path.endswith("/") and not PurePosixPath(path).name.startswith(".")
