"""Connections to an endpoint, and how the certificate of one with https is checked."""

import http
import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from tidegate.serving.errors import ClientError

SCHEMES = ("http", "https")
# How a connection that was idle turns out to be closed, of TLS too.
CLOSED = (
    *(http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError),
    *(ssl.SSLEOFError, ssl.SSLZeroReturnError),
)
EXPIRED, WRONG_NAME = 10, (62, 64)  # as OpenSSL numbers them


@dataclass(frozen=True)
class Trust:
    """Which certificate is accepted.

    Attributes:
        authority: certificates in PEM of those who may have issued it; "": the system's, or `$SSL_CERT_FILE`'s.
        name: that it must be for; "": the host of the URL.
    """

    authority: str = ""
    name: str = ""


class _NamedConnection(http.client.HTTPConnection):
    """HTTPS to an address whose certificate is for another name, as that of one replica is for all of them."""

    def __init__(self, host: str, port: int | None, timeout: float, context: ssl.SSLContext, name: str):
        super().__init__(host, port or http.client.HTTPS_PORT, timeout=timeout)
        self._context, self._name = context, name

    def connect(self) -> None:
        """Connect, and check the certificate."""
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def connection_to(url: str, timeout: float, trust: Trust | None = None) -> http.client.HTTPConnection:
    """A connection to where a URL points, which is opened by its first request.

    Args:
        url: with http:// or https://; its path is not used.
        timeout: seconds to wait for each part of an answer.
        trust: which certificate is accepted.

    Raises:
        ClientError: it is no such URL, or `trust` holds no certificates.
    """
    parts, trust = urlsplit(url), trust or Trust()
    if parts.scheme not in SCHEMES or parts.hostname is None:
        raise ClientError(f"{url!r} is not an endpoint; expected a URL such as http://127.0.0.1:8001")
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        context = ssl.create_default_context(cadata=trust.authority or None)
    except ssl.SSLError as error:
        raise ClientError(
            f"the authority of {url} cannot be read ({error.reason or error}); expected PEM; correct `ca`"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    name = trust.name or parts.hostname
    return _NamedConnection(parts.hostname, parts.port, timeout, context, name)


def page_of(url: str, path: str, timeout: float, trust: Trust | None = None) -> str:
    """A page below an endpoint's URL.

    Raises:
        OSError, HTTPException: it does not answer, or not with 200.
        ValueError: it is no text.
    """
    connection = connection_to(url, timeout, trust)
    try:
        connection.request("GET", urlsplit(url).path.rstrip("/") + path)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"{answer.status} {answer.reason}")
    return content.decode()


def unreachable(url: str, error: Exception, trust: Trust | None = None) -> ClientError:
    """Why an endpoint could not be asked."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ClientError(_untrusted(url, error, trust or Trust()))
    reason = str(error) or type(error).__name__
    return ClientError(
        f"{url} does not answer ({reason}); expected a running endpoint; see `tidegate endpoints`"
    )


def _untrusted(url: str, error: ssl.SSLCertVerificationError, trust: Trust) -> str:
    received = f"the certificate of {url} is not trusted ({error.verify_message})"
    if error.verify_code == EXPIRED:
        return f"{received}; expected one that is valid now; renew it"
    if error.verify_code in WRONG_NAME:
        name = trust.name or urlsplit(url).hostname
        return f"{received}; expected one for {name}; issue it with that name"
    if trust.authority:
        return f"{received}; expected one of an authority of `tls.ca` in targets.yaml; correct one of the two"
    return (
        f"{received}; expected one of a known authority; for one of your own, name its file in $SSL_CERT_FILE"
    )
