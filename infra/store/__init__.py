"""The store: content-addressed objects that never change, and small documents with compare-and-swap."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidegate.infra.errors import StoreError
from tidegate.infra.store.bucket import Bucket, ObjectInfo
from tidegate.infra.store.folder import FolderStore
from tidegate.infra.store.types import Ref, Store, StoredObject, digest_of

__all__ = [
    "BUCKETS",
    "STORES",
    "Bucket",
    "FolderStore",
    "ObjectInfo",
    "Ref",
    "Store",
    "StoredObject",
    "digest_of",
    "open_bucket",
    "open_store",
]


def _folder(uri: str, _endpoint: str | None, _cache: Path | None) -> Store:
    return FolderStore(Path(unquote(urlsplit(uri).path)))


def _s3(uri: str, endpoint: str | None, cache: Path | None) -> Store:
    from tidegate.infra.store.s3_store import S3Store  # importing boto3 takes half a second

    return S3Store(uri, endpoint=endpoint, cache=cache)


def _cloud(uri: str, endpoint: str | None, cache: Path | None) -> Store:
    from tidegate.infra.store.bucket_store import BucketStore

    return BucketStore(_cloud_bucket(uri, endpoint), cache)


def _s3_bucket(url: str, endpoint: str | None) -> Bucket:
    from tidegate.infra.store.s3_bucket import S3Bucket

    return S3Bucket(url, endpoint=endpoint)


def _cloud_bucket(url: str, endpoint: str | None) -> Bucket:
    try:
        from tidegate.infra.store.cloud_bucket import CloudBucket  # obstore takes a tenth of a second
    except ImportError as error:
        raise StoreError(
            f"{url} is reached by obstore, which is not here ({error}); install tidegate[clouds]"
        ) from error
    return CloudBucket(url, endpoint=endpoint)


BUCKETS: dict[str, Callable[[str, str | None], Bucket]] = {
    "s3": _s3_bucket,
    "gs": _cloud_bucket,
    "az": _cloud_bucket,
}
STORES: dict[str, Callable[[str, str | None, Path | None], Store]] = {
    "file": _folder,
    "s3": _s3,
    "gs": _cloud,
    "az": _cloud,
}


def open_store(uri: str | Path, *, endpoint: str | None = None, cache: Path | None = None) -> Store:
    """Open the store at a folder's path or at a URI; nothing is read or written yet.

    Args:
        uri: a path, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
        endpoint: of a bucket, the server's URL; default: what the client library's variables say, else the cloud's.
        cache: of a bucket, the folder of fetched objects; default: below ~/.cache.

    Raises:
        StoreError: the scheme is unknown, or the address is not valid.
    """
    scheme, separator, _ = str(uri).partition("://")
    if not separator:
        return FolderStore(Path(uri).absolute())
    if scheme not in STORES:
        known = ", ".join(f"{name}://" for name in STORES)
        raise StoreError(f"store is {str(uri)!r}; expected a folder or one of {known}; correct the scheme")
    return STORES[scheme](str(uri), endpoint, cache)


def open_bucket(url: str, endpoint: str | None = None) -> Bucket:
    """Open the bucket and prefix of a URL; nothing is read or written yet.

    Args:
        url: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
        endpoint: as for `open_store`.

    Raises:
        StoreError: the scheme is unknown, or the address is not valid.
    """
    scheme = url.partition("://")[0]
    if scheme not in BUCKETS:
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise StoreError(f"the bucket is {url!r}; expected one of {known}; correct the scheme")
    return BUCKETS[scheme](url, endpoint)
