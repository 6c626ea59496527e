"""Who sends a request."""

from typing import NamedTuple


class Caller(NamedTuple):
    """Who sends a request, as a key or a token proves.

    Attributes:
        name: of the key, or the token's `sub`.
        issuer: of the token; "" for a key.
        own: whether it is Tidegate itself, which verifies a release.
        lacks: what a valid token does not say and would have to, as the parameters of a challenge and a sentence.
    """

    name: str
    issuer: str = ""
    own: bool = False
    lacks: tuple[str, str] | None = None
