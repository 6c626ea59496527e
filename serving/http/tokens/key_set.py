"""The public keys of an issuer of tokens: read again from time to time, and when a token names a key that is new.

Keys that are known stay valid while their source cannot be read, for three days: an issuer that is down stops nobody.
A key that its issuer took away is refused at the next reading, at most five minutes later. No request reads: a thread
does, and unknown keys, which anybody can invent, make it read at most once in ten seconds.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from tidegate.serving.errors import ServerError
from tidegate.serving.http.tokens.key_source import KeySource

LOG = logging.getLogger("tidegate")
READ_EVERY = 300.0  # seconds
READ_AT_MOST_EVERY = 10.0  # seconds, whatever keys tokens name, and after a failure
LOOK_AT_FILE_EVERY = 2.0  # seconds
STALE = 3 * 86400.0  # seconds after which keys that could not be read again are not trusted any more
START_SECONDS = 15.0
MOST_KEYS = 100
MOST_ALIKE = 4  # keys of one id, or of none, that a token is checked with in turn
RSA_BITS = range(2048, 8193)  # below it is broken, above it checking one token takes milliseconds
KINDS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
RSA = ("RSA", None)


class KeySet:
    """The keys of one issuer.

    Args:
        source: where they are.
        algorithms: that may be used.

    Attributes:
        version: changes when the keys do.
    """

    def __init__(self, source: KeySource, algorithms: list[str]) -> None:
        self._source, self._algorithms = source, algorithms
        self._keys: dict[tuple[str | None, str], list[PyJWK]] = {}
        self._content: dict[str, Any] = {}
        self._stamp: object = None
        self._read_at = self._tried_at = self._asked_at = self._looked_at = float("-inf")
        self._failures, self.version = 0, 0
        self._change = threading.Condition()
        self._asked = self._stopped = False
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Read the keys for the first time; raises ServerError when that fails for 15 s."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._read()
            except ServerError:
                if not self._source.waits or time.monotonic() + 1 > until:
                    raise
            time.sleep(1)

    def start(self) -> None:
        """Begin to read again from time to time; at once where this process was forked long after the first time."""
        if self._source.waits:
            if time.monotonic() - self._read_at > READ_EVERY:
                self._try()
            self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def find(self, kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        """The keys that a token may be signed with, mostly one, at most `MOST_ALIKE`.

        A token that names no key may use those without a name, or the only one there is.
        """
        found = self._keys.get((kid, algorithm))
        if found is not None or kid is not None:
            return found or ()
        fitting = [key for (_, used), keys in self._keys.items() if used == algorithm for key in keys]
        return fitting if len(fitting) == 1 else ()

    def look(self) -> None:
        """Read a file again if it has changed; a URL is read by the thread."""
        now = time.monotonic()
        if self._source.waits or now - self._looked_at < LOOK_AT_FILE_EVERY:
            return
        self._looked_at = now
        stamp = self._source.stamp()
        if stamp is not None and stamp == self._stamp:
            self._read_at = now
        else:
            self._try()

    def ask(self) -> bool:
        """A token names an unknown key. Returns whether the keys are being read, so that waiting may help."""
        if self._thread is None:
            return False
        with self._change:
            now = time.monotonic()
            if not self._asked and now - self._asked_at >= READ_AT_MOST_EVERY:
                self._asked, self._asked_at = True, now
                self._change.notify_all()
            return self._asked

    @property
    def stale(self) -> str:
        """Why the keys are not trusted any more; "" while they are."""
        if time.monotonic() - self._read_at < STALE:
            return ""
        return f"the keys of its issuer could not be read for {STALE / 86400:g} days"

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._asked or self._stopped) and (pause := self._pause()) > 0:
                    self._change.wait(pause)
                if self._stopped:
                    return
                self._asked = True
            self._try()
            with self._change:
                self._asked = False

    def _pause(self) -> float:
        """Seconds until the next reading."""
        every = READ_EVERY
        if self._failures:
            every = min(READ_EVERY, READ_AT_MOST_EVERY * 2 ** min(self._failures - 1, 8))
        return max(self._tried_at, self._read_at) + every - time.monotonic()

    def _try(self) -> None:
        try:
            self._read()
        except ServerError as error:
            LOG.warning("%s; the keys known before stay valid for %g days", error, STALE / 86400)
            self._failures += 1
        except Exception:  # the thread must live: without it keys get stale
            LOG.exception("the keys at %s cannot be read", self._source)
            self._failures += 1

    def _read(self) -> None:
        self._tried_at = time.monotonic()
        stamp = self._source.stamp()
        content = self._source.read()
        if content != self._content:
            keys = _usable(content["keys"], self._algorithms)
            if not keys:
                raise ServerError(
                    f"{self._source} has no key for {' or '.join(self._algorithms)}; expected a public key to check "
                    "signatures, RSA ones of 2048 to 8192 bits; correct the set, or `algorithms`"
                )
            if (most := max(map(len, keys.values()))) > MOST_ALIKE:
                raise ServerError(
                    f"{self._source} has {most} keys for one algorithm with the same `kid`, or with none; expected at "
                    f"most {MOST_ALIKE}; let its issuer give each a `kid` of its own"
                )
            self._keys, self._content = keys, content
            self.version += 1
        self._stamp, self._read_at, self._failures = stamp, time.monotonic(), 0


def _usable(listed: list[Any], algorithms: list[str]) -> dict[tuple[str | None, str], list[PyJWK]]:
    """Keys by their id and the algorithm that each is bound to, whatever a token says."""
    found: dict[tuple[str | None, str], list[PyJWK]] = {}
    for given in listed[:MOST_KEYS]:
        if not isinstance(given, dict) or not _verifies(given):
            continue
        for algorithm in algorithms:
            kty, curve = KINDS.get(algorithm, RSA)
            fits = given.get("kty") == kty and given.get("alg", algorithm) == algorithm
            if not fits or (curve is not None and given.get("crv") != curve):
                continue
            with contextlib.suppress(PyJWTError, ValueError, TypeError):
                key = PyJWK({name: given[name] for name in given if name not in PRIVATE}, algorithm)
                if kty != "RSA" or key.key.key_size in RSA_BITS:
                    found.setdefault((_kid(given), algorithm), []).append(key)
    return found


PRIVATE = frozenset(
    {"d", "p", "q", "dp", "dq", "qi", "oth"}
)  # a set with private keys is used as public ones


def _kid(given: dict[str, Any]) -> str | None:
    kid = given.get("kid")
    return kid if isinstance(kid, str) else None


def _verifies(given: dict[str, Any]) -> bool:
    operations = given.get("key_ops", ["verify"])
    return given.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
