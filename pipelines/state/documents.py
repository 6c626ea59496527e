"""Changing a document of the store that others may change at the same time."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Store
from tidegate.pipelines.errors import PipelineError

ATTEMPTS = 50
Value = TypeVar("Value", bound=BaseModel)
After = TypeVar("After", bound="BaseModel | None")


def replace(
    store: Store,
    key: str,
    content: bytes,
    etag: str | None = None,
    stays: Callable[[bytes], bool] = lambda _: False,
) -> str:
    """Write a document whatever its content is, unless that may stay.

    Args:
        store: where it is.
        key: of the document.
        content: its new content.
        etag: of the content that is probably there; None: probably none.
        stays: whether another content that is there may stay.

    Returns:
        The etag of what stands there now.
    """
    while True:
        try:
            return store.write(key, content, etag)
        except ConflictError:
            found = store.read(key)
        if found is not None and stays(found[0]):
            return found[1]
        etag = found and found[1]


def change(
    store: Store,
    key: str,
    parsed: Callable[[bytes], Value],
    changed: Callable[[Value | None], After],
    what: str,
) -> After:
    """Replace a document by what a function makes of it, and again when somebody else was faster.

    Args:
        store: where it is.
        key: of the document.
        parsed: its value.
        changed: a pure function; None stands for no document. It may be called several times.
        what: the document in a message.

    Returns:
        What stands there now.

    Raises:
        PipelineError: others changed it each time.
    """
    for _ in range(ATTEMPTS):
        found = store.read(key)
        before = None if found is None else parsed(found[0])
        after = changed(before)
        same = after == before
        if same:
            return after
        try:
            if after is None:
                store.delete(key)
            else:
                store.write(key, after.model_dump_json(indent=1).encode(), found and found[1])
        except ConflictError:
            continue
        return after
    raise PipelineError(
        f"{what} was changed by others {ATTEMPTS} times in a row; expected no change; try again"
    )
