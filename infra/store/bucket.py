"""What a bucket of any cloud can do for a store and for data; `s3_bucket` and `cloud_bucket` do it."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

PART_SIZE = 16 << 20  # bytes; larger files go in parts of this size
CONNECTIONS = 16


class ObjectInfo(NamedTuple):
    """An object in a listing: key below the prefix, size (bytes), etag, time of its last write (s, epoch)."""

    key: str
    size: int
    etag: str
    modified: float


class Written(NamedTuple):
    """What became of a conditional write.

    Attributes:
        etag: the new one; None if the object has another etag than was expected.
        again: an earlier try of it may have been done, and its answer was lost.
    """

    etag: str | None
    again: bool = False


class Bucket(Protocol):
    """The objects of a bucket below a prefix; keys are relative to the prefix.

    Every method raises StoreError for missing or wrong credentials, a missing or full bucket, and a server that does
    not answer.
    """

    url: str

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object as a listing would, or None if it does not exist."""

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return a small object's content and the etag that `put` takes, or None if it does not exist."""

    def mark(self, key: str, name: str) -> tuple[str, str | None] | None:
        """Return an object's etag and its metadata's value under `name`, or None if it does not exist."""

    def put(self, key: str, content: bytes, etag: str | None, metadata: dict[str, str]) -> Written:
        """Replace the small object that has `etag` (None: create it)."""

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is not an error."""

    def upload(self, file: BinaryIO, key: str) -> None:
        """Upload a file of any size."""

    def download(self, key: str, file: BinaryIO) -> bool:
        """Write an object of any size into a new file of this disk; return False if it does not exist."""

    def list_objects(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List the objects whose key starts with `prefix`, sorted by key."""

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
