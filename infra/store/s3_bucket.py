"""An S3 bucket and a prefix in it, through boto3. The only module that imports boto3.

Credentials, proxies and the number of attempts ($AWS_MAX_ATTEMPTS) come from boto3's usual configuration.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, BinaryIO, TypeVar

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3transfer.exceptions import RetriesExceededError

from tidegate.infra.errors import StoreError
from tidegate.infra.store.bucket import CONNECTIONS, PART_SIZE, ObjectInfo, Written
from tidegate.infra.store.s3_address import endpoint_of, parse, style_of
from tidegate.infra.store.s3_errors import BAD_CREDENTIALS, code_of, explain

CONNECT_S = 3.0
READ_S = 30.0
ABSENT = {"NoSuchKey", "404"}
INTERRUPTED = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", *ABSENT}
# What is answered to keys that were replaced. 403: an answer to HEAD gives no reason.
REPLACED = BAD_CREDENTIALS | {"403"}
Answer = TypeVar("Answer")


class S3Bucket:
    """The objects of a bucket below a prefix; keys are relative to the prefix.

    Args:
        url: s3://BUCKET or s3://BUCKET/PREFIX.
        endpoint: the server's URL; default: $TIDEGATE_S3_ENDPOINT, $AWS_ENDPOINT_URL_S3, else AWS itself.
        style: how a bucket is addressed, `path`, `virtual` (host) or `auto`; default: $TIDEGATE_S3_STYLE, else
            `path`, or `auto` on AWS.
        part_size: bytes; larger files are uploaded in parts of this size (at least 5 MiB).

    Raises StoreError for an invalid URL, endpoint or style, and from every method for whatever boto3 raises.
    """

    def __init__(
        self, url: str, *, endpoint: str | None = None, style: str | None = None, part_size: int = PART_SIZE
    ) -> None:
        self.name, self.prefix = parse(url)
        self.url = f"s3://{self.name}/{self.prefix}".rstrip("/")
        self.endpoint = endpoint_of(endpoint)
        self._style = style_of(style, self.endpoint)
        self._client: Any = None
        self._credentials: Any = None
        self._making = threading.Lock()
        self._transfer = TransferConfig(
            multipart_threshold=part_size,
            multipart_chunksize=part_size,
            max_concurrency=4,
            preferred_transfer_client="classic",
        )

    @property
    def client(self) -> Any:
        """The boto3 client, created at the first use because that takes 0.2 s."""
        with self._making:  # several threads may need it at once
            if self._client is None:
                self._client, self._credentials = self._make()
            return self._client

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """Ask; once more where the server takes these credentials no longer and others are found by now.

        boto3 renews by itself what says when it ends, such as a role's, but reads a file of keys once.
        """
        client = self.client
        try:
            return ask()
        except ClientError as error:
            if code_of(error) not in REPLACED or not self._found_others(client):
                raise
            return ask()

    def _found_others(self, used: Any) -> bool:
        """Look for credentials again; whether there are others than the client `used` has. The next use takes them."""
        client, credentials = self._make()
        with self._making:
            if self._client is not used:  # another thread was first
                return True
            if _frozen(credentials) == _frozen(self._credentials):
                return False
            self._client, self._credentials = client, credentials
            return True

    def _make(self) -> tuple[Any, Any]:
        """Return a client and its credentials, None where there are none."""
        # AWS verifies a CRC of every upload, but other servers may refuse one. We always verify our SHA-256.
        checksums = "when_required" if self.endpoint else "when_supported"
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard"},
            s3={"addressing_style": self._style},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        )
        try:
            with self.translate_errors("Connecting to"):
                session = _session()
                client = session.client("s3", endpoint_url=self.endpoint, config=config)
                return client, session.get_credentials()
        except ValueError as error:
            raise StoreError(
                f"boto3 cannot use the S3 endpoint {self.endpoint}: {error}; correct it"
            ) from error

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._making:
            if self._client is not None:
                self._client.close()
                self._client = None

    @contextmanager
    def translate_errors(self, doing: str) -> Iterator[None]:
        """Raise boto3's errors as StoreError, with a message that holds no credentials."""
        try:
            yield
        except (BotoCoreError, ClientError, RetriesExceededError) as error:
            raise StoreError(explain(error, doing, self.name, self.url, self.endpoint)) from None

    def location(self, key: str) -> dict[str, str]:
        """Return the bucket and the full key as boto3's arguments."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    def head(self, key: str) -> dict[str, Any] | None:
        """Return S3's response to HEAD (ETag, Metadata, …), or None if the object does not exist."""
        with self.translate_errors("Reading from"):
            try:
                found: dict[str, Any] = self._asked(lambda: self.client.head_object(**self.location(key)))
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        return found

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object as a listing would, or None if it does not exist."""
        found = self.head(key)
        return None if found is None else _object_info(key, found | {"Size": found["ContentLength"]})

    def mark(self, key: str, name: str) -> tuple[str, str | None] | None:
        """Return an object's etag and its metadata's value under `name`, or None if it does not exist."""
        found = self.head(key)
        return None if found is None else (str(found["ETag"]), found["Metadata"].get(name))

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return a small object's content and etag, or None if it does not exist."""
        with self.translate_errors("Reading from"):
            try:
                try:
                    return self._get(key)
                except (
                    INTERRUPTED
                ):  # boto3 retries until the response begins, not once its body is interrupted
                    return self._get(key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def _get(self, key: str) -> tuple[bytes, str]:
        found = self._asked(lambda: self.client.get_object(**self.location(key)))
        with closing(
            found["Body"]
        ) as body:  # its own `with` gives what lies below it, whose errors are others
            return body.read(), found["ETag"]

    def put(self, key: str, content: bytes, etag: str | None, metadata: dict[str, str]) -> Written:
        """Replace the small object that has `etag` (None: create it)."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with self.translate_errors("Writing to"):
            try:
                done = self._asked(
                    lambda: self.client.put_object(
                        **self.location(key), **condition, Body=content, Metadata=metadata
                    )
                )
            except ClientError as error:
                if code_of(error) in CONFLICT:
                    return Written(None, bool(error.response["ResponseMetadata"].get("RetryAttempts")))
                raise
        return Written(str(done["ETag"]))

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is not an error."""
        with self.translate_errors("Removing from"):
            self._asked(lambda: self.client.delete_object(**self.location(key)))

    def upload(self, file: BinaryIO, key: str) -> None:
        """Upload a file of any size; a large one in parts, which are aborted if one fails."""

        def send() -> None:
            file.seek(0)
            self.client.upload_fileobj(file, **self.location(key), Config=self._transfer)

        with self.translate_errors("Writing to"):
            self._asked(send)

    def download(self, key: str, file: BinaryIO) -> bool:
        """Write an object of any size into a file; return False if it does not exist."""

        def receive() -> None:
            file.seek(0)
            self.client.download_fileobj(**self.location(key), Fileobj=file, Config=self._transfer)

        with self.translate_errors("Reading from"):
            try:
                self._asked(receive)
            except ClientError as error:
                if code_of(error) not in ABSENT:
                    raise
                # boto3 first sends HEAD, whose response gives no reason. A listing raises an error for a missing
                # bucket or wrong credentials, but not for a missing key.
                next(self.list_objects(key), None)
                return False
        return True

    def list_objects(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List the objects whose key starts with `prefix`, sorted by key, 1,000 per request."""
        with self.translate_errors("Listing"):
            asked = {"Bucket": self.name, "Prefix": self.prefix + prefix}
            while True:
                page = self._asked(partial(self._page, asked))
                for entry in page.get("Contents", ()):
                    yield _object_info(entry["Key"].removeprefix(self.prefix), entry)
                if not page.get("IsTruncated"):
                    return
                asked |= {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, asked: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = self.client.list_objects_v2(**asked)
        return found


def _object_info(key: str, entry: dict[str, Any]) -> ObjectInfo:
    # A gateway to a file system has no etag for files that were not written through it; the time replaces it.
    modified = entry["LastModified"].timestamp()
    return ObjectInfo(key, entry["Size"], entry.get("ETag") or f"of {modified}", modified)


def _frozen(credentials: Any) -> Any:
    """Key, secret and token, which can be compared."""
    return credentials and credentials.get_frozen_credentials()


def _session() -> Any:
    """Return a new session, which looks for credentials again but reuses boto3's parsed description of S3."""
    from tidegate.infra.store.s3_description import LOADER  # reading it takes longer than all the rest

    core = botocore.session.get_session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core)
