"""Which web pages of other origins may ask an endpoint (CORS); off unless an origin is named."""

from tidegate.serving.http.asgi import Headers, Pairs

ALLOWED_HEADERS = b"authorization, content-type, x-api-key, x-request-id, traceparent, tracestate"
ALLOWED_METHODS = b"GET, HEAD, POST, OPTIONS"
AGE = b"600"


class Cors:
    """The rule of an endpoint.

    Args:
        origins: such as https://example.org; "*" for all.
    """

    def __init__(self, origins: list[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def headers(self, headers: Headers) -> Pairs:
        """What an answer says to the browser; nothing where the origin may not ask."""
        origin = headers.get(b"origin")
        if origin is None or not (self._all or origin in self._origins):
            return []
        allowed = [(b"access-control-allow-origin", b"*" if self._all else origin), (b"vary", b"origin")]
        if b"access-control-request-method" in headers:
            allowed += [
                (b"access-control-allow-methods", ALLOWED_METHODS),
                (b"access-control-allow-headers", ALLOWED_HEADERS),
                (b"access-control-max-age", AGE),
            ]
        return [*allowed, (b"access-control-expose-headers", b"x-request-id, retry-after")]

    def is_preflight(self, method: str, headers: Headers) -> bool:
        """Whether a request only asks whether it may ask."""
        return method == "OPTIONS" and b"access-control-request-method" in headers
