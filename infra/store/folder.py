"""A store in a folder of this machine."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tidegate.infra.errors import ConflictError, CorruptObjectError, MissingObjectError, StoreError
from tidegate.infra.store.types import (
    KEY,
    OBJECT,
    Ref,
    StoredObject,
    checked_key,
    digest_of,
    object_name,
    short_etag,
)
from tidegate.infra.system.files import publish, temporary, translate_os_errors, write_atomic
from tidegate.infra.system.locks import lock

CHUNK = 1 << 20


class FolderStore:
    """A store in a folder: objects in `objects/ab/<digest><suffix>`, documents in `docs/<key>`.

    The suffix lets other tools open the objects. Raises StoreError for a full disk or a missing permission.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, tuple[int, int, int]] = {}

    def put(self, path: Path, name: str | None = None) -> Ref:
        """Copy the file into the store; this also replaces a damaged object of the same digest."""
        name = name or path.name
        with translate_os_errors(StoreError, path, "Reading"):
            source = path.open("rb")
        with source, translate_os_errors(StoreError, self.root, "Writing to the store"):
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
        """Return the object's file; its digest is verified again whenever the file has changed."""
        path = self._path(ref.digest, ref.name)
        if not path.exists():
            raise MissingObjectError(
                f"{ref.name} ({ref.digest[:12]}…) is not in the store {self.root}; expected {path}; "
                "submit the experiment again, and the step that wrote it runs again"
            )
        with translate_os_errors(StoreError, path, "Reading"):
            stamp = _stamp(path)
            if self._verified.get(path) != stamp:
                _verify(path, ref, str(path))
                self._verified[path] = stamp
        return path

    def adopt(self, path: Path, ref: Ref, origin: str) -> Path:
        """Move a complete file of this disk into the store.

        Raises CorruptObjectError, which names `origin`, if its digest is not that of `ref`.
        """
        final = self._path(ref.digest, ref.name)
        with translate_os_errors(StoreError, final, "Writing to the store"):
            _verify(path, ref, origin)
            path.chmod(0o444)
            publish(path, final)
            self._verified[final] = _stamp(final)
        return final

    def has(self, ref: Ref) -> bool:
        """Return whether the object's file exists."""
        return self._path(ref.digest, ref.name).exists()

    def objects(self) -> Iterator[StoredObject]:
        """List every object; one that is stored under two suffixes is listed twice."""
        for path in sorted((self.root / "objects").glob("*/*")):
            match = OBJECT.fullmatch(path.name)
            with suppress(FileNotFoundError):  # removed meanwhile
                if match:
                    stat = path.stat()
                    yield StoredObject(digest=match[1], size=stat.st_size, modified=stat.st_mtime)

    def remove(self, digest: str) -> None:
        """Remove an object under every suffix it has."""
        with translate_os_errors(StoreError, self.root, "Removing from the store"):
            for path in (self.root / "objects" / digest[:2]).glob(f"{digest}*"):
                path.unlink(missing_ok=True)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and etag (its sha256), or None if it does not exist."""
        path = self._document(key)
        with translate_os_errors(StoreError, path, "Reading"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        return content, _etag(content)

    def read_many(self, keys: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Read several documents by key; missing ones are left out."""
        return {key: found for key in keys if (found := self.read(key)) is not None}

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document that was read with `etag`; None: it must not exist yet."""
        path = self._document(key)
        with (
            translate_os_errors(StoreError, path, "Writing"),
            lock(self.root / "docs.lock", error=StoreError),
        ):
            found = self.read(key)
            if (found and found[1]) != etag:
                raise ConflictError(
                    f"{key} changed meanwhile: it is {short_etag(found and found[1])}; expected {short_etag(etag)}; "
                    "read it again and decide again"
                )
            write_atomic(path, content)
        return _etag(content)

    def keys(self, prefix: str = "") -> list[str]:
        """List the documents' keys that start with `prefix`, sorted."""
        docs = self.root / "docs"
        folder = docs / prefix.rpartition("/")[0]  # not all that there is: histories and records grow
        found = (str(path.relative_to(docs)) for path in folder.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix) and KEY.fullmatch(key))

    def delete(self, key: str) -> None:
        """Delete a document; a missing one is not an error."""
        path = self._document(key)
        with (
            translate_os_errors(StoreError, path, "Deleting"),
            lock(self.root / "docs.lock", error=StoreError),
        ):
            path.unlink(missing_ok=True)

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Remove temporary files that killed writers left."""
        limit, swept = time.time() - older_s, []
        for path in self.root.rglob(".tmp-*"):
            with suppress(FileNotFoundError):  # its writer is alive and has renamed it
                if path.stat().st_mtime < limit:
                    path.unlink()
                    swept.append(str(path.relative_to(self.root)))
        return swept

    def _path(self, digest: str, name: str) -> Path:
        return self.root / "objects" / object_name(digest, name)

    def _document(self, key: str) -> Path:
        return self.root / "docs" / checked_key(key)


def _verify(path: Path, ref: Ref, origin: str) -> None:
    actual = digest_of(path)
    if actual != ref.digest:
        raise CorruptObjectError(
            f"{origin} is damaged: its sha256 is {actual[:12]}…; expected {ref.digest[:12]}… ({ref.name}); "
            "delete that file and submit the experiment again"
        )


def _copy(source: int, temp: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with temp.open("xb") as file:
        while chunk := os.read(source, CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o444)  # all runs share the file, so nobody may write to it by accident
    return digest.hexdigest(), size


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
