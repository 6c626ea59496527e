"""The address of an S3 bucket: URL, endpoint and addressing style."""

import os
import re
from urllib.parse import urlsplit

from tidegate.infra.errors import StoreError

URL = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})((?:/[^/]+)*)/*")
ENDPOINT_VARIABLE = "TIDEGATE_S3_ENDPOINT"
ENDPOINT_VARIABLES = (ENDPOINT_VARIABLE, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
STYLE_VARIABLE = "TIDEGATE_S3_STYLE"
STYLES = ("auto", "path", "virtual")


def parse(url: str) -> tuple[str, str]:
    """Split s3://BUCKET/PREFIX into the bucket and the prefix, which ends with / unless empty.

    Raises:
        StoreError: the URL has another form. The message does not repeat a URL with an @, which may hold a secret.
    """
    found = URL.fullmatch(url)
    if not found or "@" in url:
        received = "a URL with an @" if "@" in url else repr(url)
        raise StoreError(
            f"the S3 address is {received}; expected s3://BUCKET/PREFIX, the bucket's name having 3 to 63 characters; "
            "put credentials where boto3 finds them"
        )
    prefix = found[2].strip("/")
    return found[1], prefix and f"{prefix}/"


def endpoint_of(configured: str | None) -> str | None:
    """Return the server's URL: the configured one, else the environment's, else None for AWS.

    Raises:
        StoreError: it is not a URL, or has credentials in it.
    """
    endpoint = configured or next(
        (os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), None
    )
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in endpoint:
        received = "one with an @" if "@" in endpoint else repr(endpoint)
        raise StoreError(
            f"the S3 endpoint is {received}; expected http(s)://HOST:PORT, without credentials; "
            f"correct the target's endpoint, or ${ENDPOINT_VARIABLE}"
        )
    return endpoint.rstrip("/")


def style_of(configured: str | None, endpoint: str | None) -> str:
    """Return the addressing style: the configured one, else the environment's, else `path`, or `auto` on AWS.

    Raises:
        StoreError: the style is unknown.
    """
    style = configured or os.environ.get(STYLE_VARIABLE) or ("path" if endpoint else "auto")
    if style not in STYLES:
        raise StoreError(
            f"the S3 style is {style!r}; expected one of {', '.join(STYLES)}; correct ${STYLE_VARIABLE}"
        )
    return style
