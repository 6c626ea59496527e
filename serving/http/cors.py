"""CORS: which web pages of other origins may send requests to an endpoint; off unless an origin is named."""

from tidegate.serving.http.asgi import HeaderList, Headers

ALLOWED_HEADERS = b"authorization, content-type, x-api-key, x-request-id, traceparent, tracestate"
ALLOWED_METHODS = b"GET, HEAD, POST, OPTIONS"
AGE = b"600"


class Cors:
    """The CORS rule of an endpoint.

    Args:
        origins: such as https://example.org; "*" for all.
    """

    def __init__(self, origins: list[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def headers(self, headers: Headers) -> HeaderList:
        """Response headers for the browser; none where the origin is not allowed."""
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
        return [
            *allowed,
            (b"access-control-expose-headers", b"x-request-id, retry-after, ratelimit, ratelimit-policy"),
        ]

    def is_preflight(self, method: str, headers: Headers) -> bool:
        """Whether a request is a CORS preflight."""
        return method == "OPTIONS" and b"access-control-request-method" in headers
