"""Which files of the user's a model file read besides itself, and what they held: a result depends on them too.

Nobody can list them before the code ran. So a training keeps what it read under its model's identity, and the next
submit looks whether those files are still the same; if not, the model has another identity, and is trained again.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Store
from tidegate.pipelines.errors import PipelineError

PREFIX = "reads/"


def model_identity(store: Store, digest: str) -> tuple[str, list[str]]:
    """The identity of a model file together with what it reads, as these files are now.

    Args:
        store: the home's.
        digest: SHA-256 of the model file.

    Returns:
        The model file's digest as long as every file that it is known to read is as it was, else another one; and the
        files that changed, empty for the first.
    """
    identity, changed = digest, list[str]()
    while kept := _read(store, identity)[0]:
        now = {path: digest_of_file(Path(path)) for path in kept}
        if now == kept:
            break
        changed = [path for path in kept if now[path] != kept[path]]
        identity = hashlib.sha256(json.dumps([identity, now], sort_keys=True).encode()).hexdigest()
    return identity, changed


def keep_files_read(store: Store, identity: str, files: Mapping[str, str]) -> None:
    """Remember what a training of this identity read.

    Args:
        store: the home's.
        identity: of the model; see `model_identity`.
        files: path -> SHA-256.

    Raises:
        PipelineError: another training of the same identity read another content.
    """
    while True:
        before, etag = _read(store, identity)
        for path, digest in files.items():
            if before.get(path, digest) != digest:
                raise changed_while_read(path)
        if files.keys() <= before.keys():
            return
        with contextlib.suppress(ConflictError):  # another trial was quicker
            store.write(PREFIX + identity + ".json", json.dumps({**before, **files}).encode(), etag)
            return


def changed_while_read(path: str) -> PipelineError:
    """The error for a file of which nobody can say any more with which content the model was trained."""
    return PipelineError(
        f"{path} was changed while the run used it; expected the same content from the first training of the run to "
        "the end of the last; submit again"
    )


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read(store: Store, identity: str) -> tuple[dict[str, str], str | None]:
    found = store.read(f"{PREFIX}{identity}.json")
    return (json.loads(found[0]), found[1]) if found else ({}, None)
