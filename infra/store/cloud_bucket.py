"""A bucket of Google Cloud Storage or a container of Azure Blob Storage, through obstore.

Credentials are found as obstore finds them: Google's application default credentials and a pod's metadata server,
Azure's AZURE_* variables, a pod's federated token. Tokens are renewed before they expire.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import AzureStore, GCSStore

from tidegate.infra.errors import StoreError
from tidegate.infra.store.bucket import CONNECTIONS, PART_SIZE, ObjectInfo, Written
from tidegate.infra.store.cloud_address import CloudAddress, parse
from tidegate.infra.store.cloud_errors import explain
from tidegate.infra.system.backoff import pauses

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult, UpdateVersion
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig

CONNECT, READ, REQUEST = timedelta(seconds=3), timedelta(seconds=30), timedelta(minutes=5)
RETRIES, LONGEST_RETRY, RETRY_TIME = 4, timedelta(seconds=2), timedelta(minutes=1)
WRITES = 3  # how often a small write is tried whose answer was lost
FIRST_S, LONGEST_S = 0.1, 2.0
PARALLEL = 4  # parts of one file at once
PAGE = 1000


class CloudBucket:
    """The objects of a bucket below a prefix; see `Bucket` for the methods.

    Args:
        url: gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
        endpoint: the server's URL; default: obstore's variables, else the cloud itself.
        part_size: bytes; larger files go in parts of this size (at least 5 MiB).
    """

    def __init__(self, url: str, *, endpoint: str | None = None, part_size: int = PART_SIZE) -> None:
        self.address = parse(url, endpoint)
        self.url = self.address.url
        self._part_size = part_size
        self._store: GCSStore | AzureStore | None = None
        self._making = threading.Lock()
        self._seen = False  # the bucket: a 404 of an object is its own then

    @property
    def store(self) -> GCSStore | AzureStore:
        """obstore's client, created at the first use because that looks for credentials."""
        with self._making:  # several threads may need it at once
            if self._store is None:
                with self._translate_errors("Connecting to"):
                    self._store = _client(self.address)
            return self._store

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._making:
            self._store = None

    @contextmanager
    def _translate_errors(self, doing: str) -> Iterator[None]:
        """Raise obstore's errors as StoreError, with a message that holds no credentials."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise StoreError(explain(error, doing, self.address)) from None

    def _path(self, key: str) -> str:
        return self.address.prefix + key

    def _etag(self, found: "ObjectMeta | PutResult") -> str:
        """What the next write has to match: a generation in Google's storage, an etag in Azure's."""
        return str(found["version"] if self.address.scheme == "gs" else found["e_tag"])

    def _info(self, path: str, found: "ObjectMeta") -> ObjectInfo:
        etag = (found["e_tag"] or "").strip('"')  # a listing has it without quotes
        modified = found["last_modified"].timestamp()
        return ObjectInfo(path.removeprefix(self.address.prefix), found["size"], etag, modified)

    def _head(self, key: str) -> "ObjectMeta | None":
        with self._translate_errors("Reading from"):
            try:
                return self.store.head(self._path(key))
            except FileNotFoundError:
                self._check_bucket(key)
                return None

    def _check_bucket(self, key: str) -> None:
        """Raise for a missing bucket, which is answered like a missing object. A listing tells them apart."""
        if not self._seen:
            next(iter(self.store.list(self._path(key), chunk_size=1)), None)
            self._seen = True

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object as a listing would, or None if it does not exist."""
        found = self._head(key)
        return None if found is None else self._info(self._path(key), found)

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return a small object's content and the etag that `put` takes, or None if it does not exist."""
        with self._translate_errors("Reading from"):
            try:
                found = self.store.get(self._path(key))
                return bytes(found.bytes()), self._etag(found.meta)
            except FileNotFoundError:
                self._check_bucket(key)
                return None

    def mark(self, key: str, name: str) -> tuple[str, str | None] | None:
        """Return an object's etag and its metadata's value under `name`, or None if it does not exist."""
        with self._translate_errors("Reading from"):
            try:
                found = self.store.get(self._path(key))
            except FileNotFoundError:
                self._check_bucket(key)
                return None
            return self._etag(found.meta), found.attributes.get(_metadata_name(name))

    def put(self, key: str, content: bytes, etag: str | None, metadata: dict[str, str]) -> Written:
        """Replace the small object that has `etag` (None: create it).

        obstore does not repeat a conditional write that may have been done. It is repeated here: one that was done is
        refused then, and whoever wrote it knows it by its mark.
        """
        with self._translate_errors("Writing to"):
            waits = pauses(FIRST_S, LONGEST_S)
            for tried in range(WRITES - 1):
                try:
                    return Written(self._put(key, content, etag, metadata), tried > 0)
                except GenericError:
                    time.sleep(next(waits))
            return Written(self._put(key, content, etag, metadata), True)

    def _put(self, key: str, content: bytes, etag: str | None, metadata: dict[str, str]) -> str | None:
        update: UpdateVersion = {"version": etag} if self.address.scheme == "gs" else {"e_tag": etag}
        attributes = {_metadata_name(name): value for name, value in metadata.items()}
        try:
            done = self.store.put(
                self._path(key), content, attributes=attributes, mode=update if etag else "create"
            )
        except (AlreadyExistsError, PreconditionError):
            return None
        except FileNotFoundError:
            self._check_bucket(key)
            return None
        return self._etag(done)

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is not an error."""
        with self._translate_errors("Removing from"):
            try:
                self.store.delete(self._path(key))
            except FileNotFoundError:
                self._check_bucket(key)

    def upload(self, file: BinaryIO, key: str) -> None:
        """Upload a file of any size; a large one in parts, which are aborted if one fails."""
        with self._translate_errors("Writing to"):
            self.store.put(
                self._path(key), file, chunk_size=self._part_size, max_concurrency=PARALLEL, mode="overwrite"
            )

    def download(self, key: str, file: BinaryIO) -> bool:
        """Write an object of any size into a new file of this disk; return False if it does not exist."""
        found = self._head(key)
        if found is None:
            return False
        path, descriptor, last = self._path(key), file.fileno(), found["size"]

        def copy(start: int) -> None:
            end = min(start + self._part_size, last)
            part = self.store.get(path, options={"range": (start, end), "if_match": found["e_tag"]})
            os.pwrite(descriptor, part.bytes(), start)

        with self._translate_errors("Reading from"), ThreadPoolExecutor(PARALLEL) as pool:
            try:
                list(pool.map(copy, range(0, last, self._part_size)))
            except (PreconditionError, FileNotFoundError):
                raise StoreError(
                    f"{self.url}/{key} changed while it was read; try again when nothing writes to it"
                ) from None
        return True

    def list_objects(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List the objects whose key starts with `prefix`, sorted by key, 1,000 per request.

        obstore takes whole folders only, so it is asked for that of `prefix`.
        """
        whole = self._path(prefix)
        folder = whole.rpartition("/")[0]
        with self._translate_errors("Listing"):
            entries = chain.from_iterable(self.store.list(folder or None, chunk_size=PAGE))
            found = (self._info(entry["path"], entry) for entry in entries if entry["path"].startswith(whole))
            yield from _without_folders(found)


def _client(address: CloudAddress) -> GCSStore | AzureStore:
    plain = bool(address.endpoint) and str(address.endpoint).startswith("http://")
    client: ClientConfig = {
        "allow_http": plain,
        "connect_timeout": CONNECT,
        "read_timeout": READ,
        "timeout": REQUEST,
        "pool_max_idle_per_host": str(CONNECTIONS),
    }
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": RETRY_TIME,
        "backoff": {"max_backoff": LONGEST_RETRY},
    }
    if address.scheme == "gs":
        google: GCSConfig = {"base_url": address.endpoint} if address.endpoint else {}
        return GCSStore(address.name, config=google, client_options=client, retry_config=retry)
    azure: AzureConfig = {"account_name": address.account or ""}
    if address.endpoint:
        azure["endpoint"] = address.endpoint
    return AzureStore(address.name, config=azure, client_options=client, retry_config=retry)


def _metadata_name(name: str) -> str:
    """Azure takes the letters of an identifier only."""
    return name.replace("-", "_")


def _without_folders(found: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Leave out empty objects that stand for the folder of the next: consoles make them, and obstore strips their /."""
    before: ObjectInfo | None = None
    for entry in found:
        if before is not None and (before.size or not entry.key.startswith(f"{before.key}/")):
            yield before
        before = entry
    if before is not None:
        yield before
