"""A store in a bucket of any cloud."""

import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest, sha256
from pathlib import Path

from tidegate.infra.errors import ConflictError, CorruptObjectError, MissingObjectError, StoreError
from tidegate.infra.store.bucket import CONNECTIONS, Bucket
from tidegate.infra.store.folder import FolderStore
from tidegate.infra.store.types import KEY, OBJECT, Ref, StoredObject, checked_key, object_name, short_etag
from tidegate.infra.system.files import temporary, translate_os_errors

WRITER = "tidegate-writer"


def default_cache() -> Path:
    """Return the default cache of fetched objects, below $XDG_CACHE_HOME or ~/.cache; it may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tidegate" / "objects"


class BucketStore:
    """A store in a bucket: objects in `objects/ab/<digest><suffix>`, documents in `docs/<key>`, below its prefix.

    The server does the compare-and-swap of documents, with its own etags.

    Args:
        bucket: the bucket and prefix.
        cache: folder of fetched objects; the SHA-256 of each is verified before it is used.

    Raises StoreError for missing or wrong credentials, a missing or full bucket, and a server that does not answer.
    """

    def __init__(self, bucket: Bucket, cache: Path | None = None) -> None:
        self.bucket = bucket
        self.url = bucket.url
        self._cache = FolderStore(cache or default_cache())

    def put(self, path: Path, name: str | None = None) -> Ref:
        """Upload the file in any case: this replaces a damaged object, and `gc` treats the object as new."""
        name = name or path.name
        with translate_os_errors(StoreError, path, "Reading"), path.open("rb") as file:
            before = os.fstat(file.fileno())
            ref = Ref(digest=file_digest(file, "sha256").hexdigest(), size=before.st_size, name=name)
            file.seek(0)
            self.bucket.upload(file, _object(ref))
            after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self.bucket.delete(_object(ref))
            raise StoreError(
                f"{path} changed while it was uploaded to {self.url}; try again when nobody writes to it"
            )
        return ref

    def fetch(self, ref: Ref) -> Path:
        """Return the object's file in the cache; it is downloaded if it is missing or damaged there."""
        try:
            return self._cache.fetch(ref)
        except MissingObjectError:
            return self._download(ref)
        except CorruptObjectError:
            self._cache.remove(ref.digest)
            return self._download(ref)

    def _download(self, ref: Ref) -> Path:
        with translate_os_errors(StoreError, self._cache.root, "Writing to the cache"):
            temp = temporary(self._cache.root / "objects")
            try:
                with temp.open("xb") as file:
                    exists = self.bucket.download(_object(ref), file)
                if not exists:
                    raise MissingObjectError(
                        f"{ref.name} ({ref.digest[:12]}…) is not in the store {self.url}; expected {_object(ref)}; "
                        "submit the experiment again, and the step that wrote it runs again"
                    )
                return self._cache.adopt(temp, ref, f"{self.url}/{_object(ref)}")
            finally:
                temp.unlink(missing_ok=True)

    def has(self, ref: Ref) -> bool:
        """Return whether the object is in the bucket."""
        return self.bucket.stat(_object(ref)) is not None

    def objects(self) -> Iterator[StoredObject]:
        """List every object; one that is stored under two suffixes is listed twice."""
        for found in self.bucket.list_objects("objects/"):
            match = OBJECT.fullmatch(found.key.rpartition("/")[2])
            if match:
                yield StoredObject(digest=match[1], size=found.size, modified=found.modified)

    def remove(self, digest: str) -> None:
        """Remove an object under every suffix it has, from the bucket and from the cache."""
        for found in list(self.bucket.list_objects(f"objects/{digest[:2]}/{digest}")):
            self.bucket.delete(found.key)
        self._cache.remove(digest)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a document's content and the server's etag, or None if it does not exist."""
        return self.bucket.get(_document(key))

    def read_many(self, keys: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Read several documents by key, in parallel; missing ones are left out."""
        wanted = list(keys)
        with ThreadPoolExecutor(max_workers=CONNECTIONS) as pool:
            found = zip(wanted, pool.map(self.read, wanted), strict=True)
            return {key: document for key, document in found if document is not None}

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document that was read with `etag`; None: it must not exist yet.

        Raises ConflictError only if nothing was written, and another StoreError if the response was lost and the
        document was written several times since: nobody can tell then whether this write was one of them.
        """
        writer = secrets.token_hex(8)
        new, again = self.bucket.put(_document(key), content, etag, {WRITER: f"{writer}.{_mark(etag)}"})
        return new or self._written_before(key, etag, writer, again)

    def _written_before(self, key: str, etag: str | None, writer: str, again: bool) -> str:
        """Return the etag if the refused write was a retry of our own, whose first response was lost."""
        found = self.bucket.mark(_document(key), WRITER)
        last, _, replaced = ((found and found[1]) or "").partition(".")
        if found and last == writer:
            return found[0]
        # With the mark of this etag, theirs replaced the very document that this one was to replace.
        if again and replaced != _mark(etag):
            raise StoreError(
                f"the response to a write of {key} in {self.url} was lost, and somebody else has written it since; "
                "expected to know whether the write was done; see what is there now, then try again"
            )
        now = found and found[0]
        raise ConflictError(
            f"{key} changed meanwhile: it is {short_etag(now)}; expected {short_etag(etag)}; "
            "read it again and decide again"
        )

    def keys(self, prefix: str = "") -> list[str]:
        """List the documents' keys that start with `prefix`, sorted; 1,000 per request."""
        found = (entry.key.removeprefix("docs/") for entry in self.bucket.list_objects(f"docs/{prefix}"))
        return sorted(key for key in found if KEY.fullmatch(key))

    def delete(self, key: str) -> None:
        """Delete a document; a missing one is not an error."""
        self.bucket.delete(_document(key))

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Remove temporary files that killed readers left in the cache."""
        return self._cache.sweep(older_s)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.bucket.close()


def _object(ref: Ref) -> str:
    return f"objects/{object_name(ref.digest, ref.name)}"


def _mark(etag: str | None) -> str:
    """What a document's metadata says of the one that it replaced."""
    return sha256((etag or "").encode()).hexdigest()[:16]


def _document(key: str) -> str:
    return f"docs/{checked_key(key)}"
