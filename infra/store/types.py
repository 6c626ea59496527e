"""The interface of a store, its values, and the names of its objects and documents."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from tidegate.infra.errors import StoreError

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")
OBJECT = re.compile(r"([0-9a-f]{64})(\.[A-Za-z0-9]{1,12})?")


class Ref(BaseModel):
    """A reference to an object, passed between steps: sha256 `digest` (hex), `size` in bytes, file `name`."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    digest: str
    size: int
    name: str


class StoredObject(BaseModel):
    """An object in the listing of a store: digest, size in bytes, time of its last write (s, epoch)."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    digest: str
    size: int
    modified: float


class Store(Protocol):
    """The interface of a store. To add one, write a class with these methods and an entry in `STORES`."""

    def put(self, path: Path, name: str | None = None) -> Ref:
        """Store the file's content and return its reference; equal contents are stored once."""

    def fetch(self, ref: Ref) -> Path:
        """Return a file with the object's content, whose digest was verified; callers must not write to it."""

    def has(self, ref: Ref) -> bool:
        """Return whether the object exists; its content is not verified."""

    def objects(self) -> Iterator[StoredObject]:
        """List every object."""

    def remove(self, digest: str) -> None:
        """Remove an object; a missing one is not an error."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and etag, or None if it does not exist."""

    def read_many(self, keys: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Read several documents by key; missing ones are left out."""

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document that was read with `etag` (None: it must not exist yet); return the new etag.

        Raises ConflictError if the document has changed since.
        """

    def keys(self, prefix: str = "") -> list[str]:
        """List the documents' keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Delete a document; a missing one is not an error."""

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Remove incomplete writes that are older than `older_s` seconds; return their names."""


def digest_of(path: Path) -> str:
    """Return a file's sha256 (hex); raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def object_name(digest: str, name: str) -> str:
    """Return an object's path below `objects/`: `ab/<digest><suffix of its name>`."""
    suffix = Path(name).suffix
    return f"{digest[:2]}/{digest}{suffix if SUFFIX.fullmatch(suffix) else ''}"


def checked_key(key: str) -> str:
    """Return the key; raises StoreError for a key that could leave the store's folder."""
    if not KEY.fullmatch(key):
        raise StoreError(f"document key is {key!r}; expected words of letters, digits, . _ - joined by /")
    return key


def short_etag(etag: str | None) -> str:
    """Return a short form of an etag for a message."""
    return f"etag {etag.strip(chr(34))[:12]}…" if etag else "no document"
