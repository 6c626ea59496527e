"""The address of a bucket of Google Cloud Storage or of a container of Azure Blob Storage."""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tidegate.infra.errors import StoreError

Scheme = Literal["gs", "az"]
URL = re.compile(r"(gs|az)://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])((?:/[^/]+)*)/*")
CLOUDS: dict[str, str] = {"gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
FORMS: dict[str, str] = {"gs": "gs://BUCKET/PREFIX", "az": "az://CONTAINER/PREFIX"}
# Where obstore finds a server of its own accord.
ENDPOINT_VARIABLES: dict[str, tuple[str, ...]] = {
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
ACCOUNT_VARIABLE = "AZURE_STORAGE_ACCOUNT_NAME"


@dataclass(frozen=True)
class CloudAddress:
    """A bucket and where it is.

    Attributes:
        scheme: `gs` or `az`.
        name: of the bucket or container.
        prefix: of its keys; it ends with / unless empty.
        endpoint: the server's URL; None: the cloud's own.
        account: of Azure, the storage account.
    """

    scheme: Scheme
    name: str
    prefix: str
    endpoint: str | None
    account: str | None

    @property
    def url(self) -> str:
        """The bucket and prefix, without a slash at the end."""
        return f"{self.scheme}://{self.name}/{self.prefix}".rstrip("/")

    @property
    def server(self) -> str:
        """The server in a message."""
        return f"{CLOUDS[self.scheme]} at {self.endpoint}" if self.endpoint else CLOUDS[self.scheme]


def parse(url: str, endpoint: str | None = None) -> CloudAddress:
    """Read gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, and the environment for what it does not say.

    Args:
        url: the bucket and prefix.
        endpoint: the server's URL; default: what obstore's variables say, else the cloud's own.

    Raises:
        StoreError: the URL or the endpoint has another form, or nothing names Azure's account. No message repeats
            what may hold a secret.
    """
    found = URL.fullmatch(url)
    if not found or "@" in url or "?" in url:
        expected = FORMS.get(url.partition("://")[0], " or ".join(FORMS.values()))
        received = "one with @ or ?" if "@" in url or "?" in url else repr(url)
        raise StoreError(
            f"the bucket's address is {received}; expected {expected}, the name in lower-case letters and digits; "
            "put credentials where the cloud's own tools find them"
        )
    scheme: Scheme = "gs" if found[1] == "gs" else "az"
    server = _endpoint(scheme, endpoint)
    prefix = found[3].strip("/")
    account = _account(url, server) if scheme == "az" else None
    return CloudAddress(scheme, found[2], prefix and f"{prefix}/", server, account)


def _endpoint(scheme: Scheme, configured: str | None) -> str | None:
    variables = ENDPOINT_VARIABLES[scheme]
    endpoint = configured or next((os.environ[name] for name in variables if os.environ.get(name)), None)
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in endpoint or parts.query:
        received = "one with @ or ?" if "@" in endpoint or parts.query else repr(endpoint)
        raise StoreError(
            f"the endpoint of {CLOUDS[scheme]} is {received}; expected http(s)://HOST:PORT, without credentials; "
            f"correct the target's endpoint, or ${variables[0]}"
        )
    return endpoint.rstrip("/")


def _account(url: str, endpoint: str | None) -> str:
    """Azure's storage account: the environment's, else the endpoint's host or, of a server with no name, its path."""
    account = os.environ.get(ACCOUNT_VARIABLE) or (_account_of(endpoint) if endpoint else "")
    if not account:
        raise StoreError(
            f"nothing names the storage account of {url}; expected it in ${ACCOUNT_VARIABLE}, or an endpoint such as "
            "https://ACCOUNT.blob.core.windows.net; set one of them"
        )
    return account


def _account_of(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if "." in host:
            return host.partition(".")[0]
    return parts.path.strip("/").partition("/")[0]
