"""The certificate that a server shows: two files, read again when they change, as a Secret of Kubernetes does.

New connections get the new one; those that are open stay as they are.
"""

import datetime
import logging
import os
import ssl
import threading
import time
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from tidegate.serving.errors import ServerError
from tidegate.serving.http.file_stamp import file_stamp

LOG = logging.getLogger("tidegate")
CHECK = 2.0  # seconds between checks of the files
NO_PASSWORD = "no password"  # without one OpenSSL would ask the terminal for it
FORM = (
    "expected a certificate with its chain in one file and its key without a password in another, both in PEM"
)


class Pem(NamedTuple):
    """A certificate with its chain, and its private key, in PEM."""

    certificate: bytes
    key: bytes


class Certificate:
    """A certificate and its private key.

    Args:
        certificate: file of the certificate, followed by those of its issuers; it may be replaced at any time.
        key: file of its private key; the same.

    Attributes:
        context: for a server's sockets: each handshake gets the newest certificate.

    Raises:
        ServerError: they cannot be read, do not belong together, or the certificate is not valid now.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = threading.Lock()  # gRPC's handshakes are in threads of its own
        self._checked, self._stamp = time.monotonic(), self._stat()
        self._pem, self.context, self._end = self._read()
        # Not `load_cert_chain` again on one context: that keeps an old pair beside a new one of another kind of key.
        self._newest = self.context
        self.context.sni_callback = self._choose

    def newest(self) -> Pem:
        """The newest usable certificate and its key."""
        with self._lock:
            self._reread()
            return self._pem

    def end(self) -> float:
        """Until when the newest certificate is valid, in seconds since 1970."""
        self.newest()
        return self._end.timestamp()

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """At each handshake, whether or not its client says a name."""
        del name, context
        self.newest()
        connection.context = self._newest

    def _reread(self) -> None:
        if time.monotonic() - self._checked < CHECK:
            return
        self._checked, stamp = time.monotonic(), self._stat()
        if stamp == self._stamp:
            return
        try:
            self._pem, self._newest, self._end = self._read()
        except ServerError as error:  # half written, or deleted: it is read again
            LOG.warning("%s; the certificate known before is shown", error)
            return
        self._stamp = stamp
        LOG.warning("a new certificate is shown, valid until %s UTC", f"{self._end:%Y-%m-%d %H:%M}")

    def _read(self) -> tuple[Pem, ssl.SSLContext, datetime.datetime]:
        where = " and ".join(map(str, self._files))
        try:
            pem = Pem(*(file.read_bytes() for file in self._files))
            context = _context_of(pem)
            begin, end = _times_of(pem)
        except OSError as error:
            raise ServerError(f"the certificate in {where} {_problem(error)}") from error
        except ValueError as error:
            raise ServerError(f"the certificate in {where} cannot be read ({error}); {FORM}") from error
        if not begin <= datetime.datetime.now(datetime.UTC) <= end:
            raise ServerError(
                f"the certificate in {self._files[0]} is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} "
                "UTC; expected one that is valid now; renew it"
            )
        return pem, context, end

    def _stat(self) -> tuple[object, ...]:
        return tuple(map(file_stamp, self._files))


def _context_of(pem: Pem) -> ssl.SSLContext:
    """A server's context, from what was read once: of two files that are just replaced one may be the old one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with os.fdopen(os.memfd_create("tidegate-tls"), "wb") as file:
        file.write(pem.key + b"\n" + pem.certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=NO_PASSWORD)
    return context


def _times_of(pem: Pem) -> tuple[datetime.datetime, datetime.datetime]:
    """From when to when the certificate is valid; raises ValueError."""
    found = x509.load_pem_x509_certificate(pem.certificate)
    return found.not_valid_before_utc, found.not_valid_after_utc


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "does not belong to the key there; expected the key that it was made for; put both in place together"
    reason = (error.reason or str(error)) if isinstance(error, ssl.SSLError) else error
    return f"cannot be read ({reason}); {FORM}"
