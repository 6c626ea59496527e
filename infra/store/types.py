"""What every store is: its values, its methods, and the names of what lies in it."""

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
    """What a step hands on instead of a file: sha256 `digest` (hex), `size` in bytes, and a file `name`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    size: int
    name: str


class StoredObject(BaseModel):
    """An object found in the store, for `gc`: digest, size in bytes, when it was put (s, epoch)."""

    model_config = ConfigDict(frozen=True)

    digest: str
    size: int
    modified: float


class Store(Protocol):
    """What every store can do; a new one is a class with these methods and a line in `STORES`."""

    def put(self, path: Path, name: str | None = None) -> Ref:
        """Keep the file's content and return its reference; the same content is kept once."""

    def fetch(self, ref: Ref) -> Path:
        """Return a readable file with the object's content, its digest verified; never write to it."""

    def has(self, ref: Ref) -> bool:
        """Tell whether the object is there; its content is not looked at."""

    def objects(self) -> Iterator[StoredObject]:
        """List every object."""

    def remove(self, digest: str) -> None:
        """Remove an object; one that is not there is fine."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and etag, or None when there is none."""

    def read_many(self, keys: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Read several documents by key; those that are not there are left out."""

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document read with `etag` (None: it must not exist), return the new etag.

        Raises ConflictError when the document is another one by now.
        """

    def keys(self, prefix: str = "") -> list[str]:
        """List the documents' keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Delete a document; one that is not there is fine."""

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Remove what killed writers left unfinished more than `older_s` seconds ago; return the names."""


def digest_of(path: Path) -> str:
    """Return a file's sha256 (hex); raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def object_name(digest: str, name: str) -> str:
    """Return where an object lies below `objects/`: `ab/<digest><suffix of its name>`."""
    suffix = Path(name).suffix
    return f"{digest[:2]}/{digest}{suffix if SUFFIX.fullmatch(suffix) else ''}"


def checked_key(key: str) -> str:
    """Return the key itself; raises StoreError for one that could leave the store."""
    if not KEY.fullmatch(key):
        raise StoreError(f"{key!r} is no document key: expected words of letters, digits, . _ - joined by /.")
    return key


def short_etag(etag: str | None) -> str:
    """Name an etag in a sentence."""
    return f"etag {etag.strip(chr(34))[:12]}…" if etag else "no document"
