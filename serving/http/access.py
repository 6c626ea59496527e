"""Who may ask an endpoint: whoever has one of its keys, or a token of one of its issuers."""

import asyncio
import string
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.api_keys import ApiKeys
from tidegate.serving.http.asgi import HeaderList, Headers
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.rate_limit import RateLimiter
from tidegate.serving.http.tokens.challenges import forbidden

if TYPE_CHECKING:
    from tidegate.serving.http.tokens.checking import Tokens

KEY = "expected a key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; ask whoever runs the endpoint for one"
TOKEN = "expected a token of its issuer, as `Authorization: Bearer TOKEN`"
EITHER = "expected a token of its issuer or a key, as `Authorization: Bearer …`"
BASE64URL = (string.ascii_letters + string.digits + "-_=").encode()  # some issuers pad it
WAIT_SECONDS = 2.0  # for a key that an issuer has just made
WAIT_STEP = 0.02
SETTLING = "tidegate.settling"  # in the state of an ASGI scope: what `settle` tells


class Access:
    """Who may ask; either a key or a token is enough.

    Args:
        keys: that are accepted; None: none.
        tokens: checks tokens; None: none is accepted.
        limiter: counts the requests of each caller; None: they may send any number.
        has_keys: whether clients may have keys, and not only Tidegate itself.

    Attributes:
        limiter: the same.
    """

    def __init__(
        self,
        keys: ApiKeys | None,
        tokens: "Tokens | None" = None,
        limiter: RateLimiter | None = None,
        *,
        has_keys: bool = True,
    ) -> None:
        self._keys, self._tokens, self.limiter = keys, tokens, limiter
        self._key_sets = [] if tokens is None else tokens.key_sets
        self._expected = KEY if tokens is None else EITHER if has_keys else TOKEN
        self._what = "API key" if tokens is None else "key or token" if has_keys else "token"

    def start(self) -> None:
        """Begin to read the issuers' keys again from time to time."""
        for keys in self._key_sets:
            keys.start()

    def stop(self) -> None:
        """Read no keys any more."""
        for keys in self._key_sets:
            keys.stop()

    def identify(self, headers: Headers) -> Caller:
        """Who sends a request, by its headers.

        Raises:
            RejectedError: 401, the request has neither key nor token, or one that is not valid; 503, the issuer's keys
                could not be read for too long.
        """
        word = credential(headers)
        if not word:
            raise self._unauthorized(f"the request has no {self._what}")
        found = None if self._keys is None else self._keys.find(word)
        if found is not None:
            return found
        if self._tokens is None or not is_token(word):
            raise self._unauthorized(f"the request's {self._what} is not valid")
        return self._tokens.check(word)

    def admit(self, caller: Caller) -> HeaderList:
        """Let a caller ask; returns headers of the answer.

        Raises:
            RejectedError: 403, its token does not say enough; 429, it has asked too often.
        """
        if caller.lacks is not None:
            raise forbidden(*caller.lacks)
        return [] if self.limiter is None or caller.own else self.limiter.take(caller)

    def awaits_keys(self, headers: Headers) -> bool:
        """Whether a request's token may be known in a moment, because its issuer's keys are being read."""
        return (
            self._tokens is not None
            and is_token(word := credential(headers))
            and self._tokens.awaits_keys(word)
        )

    async def settle(self, headers: Headers, tell: Callable[[bool], object] = bool) -> None:
        """Wait until it is known whether the key that a request's token names exists; at most 2 s.

        Args:
            headers: of the request.
            tell: called with True if it must wait, and with False after that. Meanwhile it waits for no prediction, and
                anybody can invent keys: whoever counts requests must not let others wait for it.
        """
        if not self.awaits_keys(headers):
            return
        until = time.monotonic() + WAIT_SECONDS
        tell(True)
        try:
            while time.monotonic() < until and self.awaits_keys(headers):
                await asyncio.sleep(WAIT_STEP)
        finally:
            tell(False)

    def _unauthorized(self, received: str) -> RejectedError:
        words = f"{received}; {self._expected}"
        return RejectedError(401, "unauthorized", words, ((b"www-authenticate", b"Bearer"),))


def credential(headers: Headers) -> bytes:
    """The key or token in a request's headers; b"" if there is none."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


def is_token(word: bytes) -> bool:
    """Whether a credential has the form of a token: three parts in base64url, whatever they say."""
    return word.translate(None, BASE64URL) == b".."
