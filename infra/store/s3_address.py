"""Where an S3 bucket is: URLs, endpoints, and how a bucket is addressed."""

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
        StoreError: it is no such URL. A part before an @ is not repeated: it may be a secret.
    """
    found = URL.fullmatch(url)
    if not found or "@" in url:
        told = "a URL with an @" if "@" in url else repr(url)
        raise StoreError(
            f"Received {told}; expected s3://BUCKET/PREFIX; credentials go where boto3 finds them."
        )
    prefix = found[2].strip("/")
    return found[1], prefix and f"{prefix}/"


def endpoint_of(stated: str | None) -> str | None:
    """Return the server's URL: the one stated, else the environment's, else None for AWS.

    Raises:
        StoreError: it is no URL, or has credentials in it.
    """
    endpoint = stated or next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), None)
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in endpoint:
        told = "one with an @" if "@" in endpoint else repr(endpoint)
        raise StoreError(
            f"The S3 endpoint is {told}; expected http(s)://HOST:PORT, without credentials. "
            f"Correct it where it is stated, or ${ENDPOINT_VARIABLE}."
        )
    return endpoint.rstrip("/")


def style_of(stated: str | None, endpoint: str | None) -> str:
    """Return how buckets are addressed: stated, else the environment's, else by path unless it is AWS.

    Raises:
        StoreError: there is no such style.
    """
    style = stated or os.environ.get(STYLE_VARIABLE) or ("path" if endpoint else "auto")
    if style not in STYLES:
        raise StoreError(
            f"The S3 style is {style!r}; expected one of {', '.join(STYLES)}. Correct ${STYLE_VARIABLE}."
        )
    return style
