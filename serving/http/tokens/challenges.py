"""The challenges of RFC 6750: why a token is refused, in `WWW-Authenticate` and in words."""

from tidegate.serving.errors import RejectedError


def invalid(words: str) -> RejectedError:
    """401 for a token, with the challenge of RFC 6750."""
    challenge = b'Bearer error="invalid_token", error_description="%b"' % quotable(words)
    return RejectedError(401, "unauthorized", words, ((b"www-authenticate", challenge),))


def forbidden(parameters: str, words: str) -> RejectedError:
    """403 for a valid token that does not say enough, with the challenge of RFC 6750."""
    challenge = b'Bearer error="insufficient_scope"%b, error_description="%b"'
    pair = b"www-authenticate", challenge % (parameters.encode(), quotable(words))
    return RejectedError(403, "forbidden", words, (pair,))


def quotable(words: str) -> bytes:
    """A text as RFC 6750 allows it in a challenge."""
    plain = words.replace('"', "'").replace("\\", "/").encode("ascii", "replace")
    return bytes(byte if 0x20 <= byte <= 0x7E else 0x3F for byte in plain)
