"""The key with which Tidegate itself asks an endpoint that needs keys, to verify a release before it gets traffic."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Store

OWN_KEY = "TIDEGATE_OWN_KEY"  # the variable of a server's process with the key's line
NAME = "tidegate"  # of this key, in an endpoint's logs


def stored_key(store: Store, endpoint: str) -> str:
    """The endpoint's key in a store, made at the first call. Raises StoreError.

    Whoever reads the store decides what is released, so it may hold this key too; pods get its digest only.
    """
    document = f"keys/{endpoint}"
    if (found := store.read(document)) is None:
        with contextlib.suppress(ConflictError):  # somebody else has just made it
            store.write(document, secrets.token_urlsafe(32).encode(), None)
        found = store.read(document)
        assert found is not None
    return found[0].decode()


def key_in_file(path: Path) -> str:
    """The endpoint's key in a file that only its owner may read, made at the first call. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):  # somebody else has just made it
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


def line_of(key: str) -> str:
    """Its line as of a keys file: name and digest."""
    return f"{NAME} {hashlib.sha256(key.encode()).hexdigest()}"
