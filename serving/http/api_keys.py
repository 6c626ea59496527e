"""API keys: a file of their digests, read again when it changes. `tidegate keys NAME` makes a key.

A line is `NAME SHA256`: a name for people and logs, and the digest of the key; `#` begins a comment. Several keys are
valid at once, so that a key is replaced without a gap: add the new one, move the clients, remove the old one.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from tidegate.serving.errors import ServerError
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.file_stamp import file_stamp

LOG = logging.getLogger("tidegate")
LINE = re.compile(r"(\S+)\s+([0-9a-f]{64})")
CHECK = 2.0  # seconds between checks of the file


class ApiKeys:
    """The keys that an endpoint accepts.

    Args:
        path: the file; it may be replaced at any time. None: there is only the own one.
        own: a line of one more key, with which a release is verified; "": none.

    Raises:
        ServerError: it cannot be read, or holds no key.
    """

    def __init__(self, path: Path | None, own: str = "") -> None:
        self._own = _keys_in(own.splitlines(), "$TIDEGATE_OWN_KEY") if own else []
        self._path, self._checked = path, time.monotonic()
        self._stamp = None if path is None else file_stamp(path)
        self._keys = [] if path is None else read_keys(path)

    def find(self, key: bytes) -> Caller | None:
        """Whose key it is; None if it is nobody's."""
        self._reread()
        digest = hashlib.sha256(key).hexdigest()
        # All are compared, each in constant time, so that the time reveals nothing about the keys.
        found = [name for name, known in self._keys if hmac.compare_digest(known, digest)]
        own = [name for name, known in self._own if hmac.compare_digest(known, digest)]
        if own:
            return Caller(own[0], own=True)
        return Caller(found[0]) if found else None

    def _reread(self) -> None:
        if self._path is None or time.monotonic() - self._checked < CHECK:
            return
        self._checked = time.monotonic()
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            self._keys = read_keys(self._path)
        except ServerError as error:  # half written, or deleted: it is read again
            LOG.warning("%s; the keys known before stay valid", error)
        else:
            self._stamp = stamp


def read_keys(path: Path) -> list[tuple[str, str]]:
    """Read `(name, digest)` of each key; raises ServerError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ServerError(
            f"the keys file {path} cannot be read ({error}); expected lines NAME SHA256"
        ) from error
    return _keys_in(lines, f"the keys file {path}")


def _keys_in(lines: Sequence[str], where: str) -> list[tuple[str, str]]:
    """The keys in these lines of a file or a variable; raises ServerError."""
    bare = [line.partition("#")[0].strip() for line in lines]
    matches = [LINE.fullmatch(line) for line in bare if line]
    if not matches or None in matches:
        raise ServerError(
            f"{where} holds {'a line that is not a key' if matches else 'no key'}; expected lines "
            "NAME SHA256; `tidegate keys NAME` makes one"
        )
    return [(match[1], match[2]) for match in matches if match]


def new_key(name: str) -> tuple[str, str]:
    """A new key, and its line for the keys file.

    Args:
        name: of the person or program that will use it.

    Raises:
        ServerError: the name cannot be written to a keys file.
    """
    key = secrets.token_urlsafe(32)
    line = f"{name} {hashlib.sha256(key.encode()).hexdigest()}"
    if "#" in name or not name.isprintable() or not LINE.fullmatch(line):
        raise ServerError(f"key name {name!r} is not valid; expected one word without #, such as alice")
    return key, line
