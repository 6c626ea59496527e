"""The store: content-addressed objects that never change, and small documents with compare-and-swap."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from infra.errors import ConflictError, CorruptObjectError, MissingObjectError, StoreError
from infra.files import in_words, publish, temporary, write_atomic
from infra.locks import lock

CHUNK = 1 << 20
KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")
OBJECT = re.compile(r"([0-9a-f]{64})(\.[A-Za-z0-9]{1,12})?")


class Ref(BaseModel):
    """What a step hands on instead of a file: sha256 `digest` (hex), `size` in bytes, and a file `name`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    size: int
    name: str


class Stored(BaseModel):
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

    def objects(self) -> Iterator[Stored]:
        """List every object."""

    def remove(self, digest: str) -> None:
        """Remove an object; one that is not there is fine."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and etag, or None when there is none."""

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


class FolderStore:
    """A store in a folder: `objects/ab/<digest><suffix>` (any tool can open them) and `docs/<key>`.

    Raises StoreError in words for a full disk or a missing permission.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, tuple[int, int, int]] = {}

    def put(self, path: Path, name: str | None = None) -> Ref:
        """Copy the file in; a damaged object of the same digest is healed by that."""
        name = name or path.name
        with in_words(StoreError, path, "Reading"):
            source = path.open("rb")
        with source, in_words(StoreError, self.root, "Writing to the store"):
            temp = temporary(self.root / "objects")
            try:
                digest, size = _copy(source.fileno(), temp)
                final = self._path(digest, name)
                publish(temp, final)
            finally:
                temp.unlink(missing_ok=True)
            self._verified[final] = _stamp(final)
        return Ref(digest=digest, size=size, name=name)

    def fetch(self, ref: Ref) -> Path:
        """Return the object's own file; its digest is checked once for each state of that file."""
        path = self._path(ref.digest, ref.name)
        if not path.exists():
            raise MissingObjectError(
                f"{ref.name} ({ref.digest[:12]}…) is not in the store {self.root}: expected {path}. "
                "Submit the experiment again; the step that made it runs again."
            )
        with in_words(StoreError, path, "Reading"):
            stamp = _stamp(path)
            if self._verified.get(path) != stamp:
                self._verify(path, ref)
                self._verified[path] = stamp
        return path

    def has(self, ref: Ref) -> bool:
        """Tell whether the object's file is there."""
        return self._path(ref.digest, ref.name).exists()

    def _verify(self, path: Path, ref: Ref) -> None:
        actual = digest_of(path)
        if actual != ref.digest:
            raise CorruptObjectError(
                f"{path} is damaged: its sha256 is {actual[:12]}…, expected {ref.digest[:12]}… ({ref.name}). "
                "Delete that file and submit the experiment again."
            )

    def objects(self) -> Iterator[Stored]:
        """List every object; one kept under two suffixes comes twice."""
        for path in sorted((self.root / "objects").glob("*/*")):
            match = OBJECT.fullmatch(path.name)
            with suppress(FileNotFoundError):  # removed meanwhile
                if match:
                    stat = path.stat()
                    yield Stored(digest=match[1], size=stat.st_size, modified=stat.st_mtime)

    def remove(self, digest: str) -> None:
        """Remove an object under every suffix it has."""
        with in_words(StoreError, self.root, "Removing from the store"):
            for path in (self.root / "objects" / digest[:2]).glob(f"{digest}*"):
                path.unlink(missing_ok=True)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and etag (its sha256), or None when there is none."""
        path = self._document(key)
        with in_words(StoreError, path, "Reading"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        return content, _etag(content)

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document read with `etag`; None: it must not exist yet."""
        path = self._document(key)
        with in_words(StoreError, path, "Writing"), lock(self.root / "docs.lock", error=StoreError):
            found = self.read(key)
            if (found and found[1]) != etag:
                raise ConflictError(
                    f"{key} changed meanwhile: expected {_short(etag)}, found {_short(found and found[1])}. "
                    "Read it again and decide anew."
                )
            write_atomic(path, content)
        return _etag(content)

    def keys(self, prefix: str = "") -> list[str]:
        """List the documents' keys that start with `prefix`, sorted."""
        docs = self.root / "docs"
        found = (str(path.relative_to(docs)) for path in docs.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix) and KEY.fullmatch(key))

    def delete(self, key: str) -> None:
        """Delete a document; one that is not there is fine."""
        path = self._document(key)
        with in_words(StoreError, path, "Deleting"), lock(self.root / "docs.lock", error=StoreError):
            path.unlink(missing_ok=True)

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Remove temporary files of killed writers."""
        limit, swept = time.time() - older_s, []
        for path in self.root.rglob(".tmp-*"):
            with suppress(FileNotFoundError):  # its writer lives and is done
                if path.stat().st_mtime < limit:
                    path.unlink()
                    swept.append(str(path.relative_to(self.root)))
        return swept

    def _path(self, digest: str, name: str) -> Path:
        suffix = Path(name).suffix
        return self.root / "objects" / digest[:2] / (digest + (suffix if SUFFIX.fullmatch(suffix) else ""))

    def _document(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise StoreError(
                f"{key!r} is no document key: expected words of letters, digits, . _ - joined by /."
            )
        return self.root / "docs" / key


def _copy(source: int, temp: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with temp.open("xb") as file:
        while chunk := os.read(source, CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o444)  # shared by every run: nobody writes into it by accident
    return digest.hexdigest(), size


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _short(etag: str | None) -> str:
    return f"etag {etag[:12]}…" if etag else "no document"


STORES = {"file": FolderStore}


def open_store(uri: str | Path) -> Store:
    """Open the store at a folder's path or URI; raises StoreError for a scheme nobody handles."""
    scheme, separator, _ = str(uri).partition("://")
    if not separator:
        return FolderStore(Path(uri).absolute())
    if scheme not in STORES:
        raise StoreError(f"No store handles {uri!r}: expected a folder or one of {', '.join(STORES)}://.")
    return STORES[scheme](Path(unquote(urlsplit(str(uri)).path)))
