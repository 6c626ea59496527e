"""The store: content-addressed objects that never change, and small documents with compare-and-swap."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidegate.infra.errors import StoreError
from tidegate.infra.store.folder import FolderStore
from tidegate.infra.store.types import Ref, Store, StoredObject, digest_of

__all__ = ["STORES", "FolderStore", "Ref", "Store", "StoredObject", "digest_of", "open_store"]


def _folder(uri: str, _endpoint: str | None, _cache: Path | None) -> Store:
    return FolderStore(Path(unquote(urlsplit(uri).path)))


def _s3(uri: str, endpoint: str | None, cache: Path | None) -> Store:
    from tidegate.infra.store.s3_store import S3Store  # importing boto3 takes half a second

    return S3Store(uri, endpoint=endpoint, cache=cache)


STORES: dict[str, Callable[[str, str | None, Path | None], Store]] = {"file": _folder, "s3": _s3}


def open_store(uri: str | Path, *, endpoint: str | None = None, cache: Path | None = None) -> Store:
    """Open the store at a folder's path or at a URI; nothing is read or written yet.

    Args:
        uri: a path, file:///FOLDER or s3://BUCKET/PREFIX.
        endpoint: for S3, the server's URL; default: $TIDEGATE_S3_ENDPOINT, else AWS.
        cache: for S3, the folder of fetched objects; default: below ~/.cache.

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
