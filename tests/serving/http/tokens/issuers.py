"""An issuer of tokens for tests: real keys, and a small web server with the public ones."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NAME = "https://login.example.org/"


@dataclass
class Key:
    """A pair of keys, the private one as PyJWT wants it."""

    kid: str | None
    algorithm: str
    private: Any

    @property
    def public(self) -> dict[str, Any]:
        """The public half, as a set holds it."""
        kinds = {"E": OKPAlgorithm if self.algorithm == "EdDSA" else ECAlgorithm}
        made = kinds.get(self.algorithm[0], RSAAlgorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {**made, "use": "sig"} | ({"kid": self.kid} if self.kid else {})


def new_key(kid: str | None = "first", algorithm: str = "ES256", bits: int = 2048) -> Key:
    """A new pair; making one for ES256 takes less than a millisecond."""
    if algorithm[0] in "RP":
        return Key(kid, algorithm, _rsa(bits))
    if algorithm == "EdDSA":
        return Key(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
    curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]
    return Key(kid, algorithm, ec.generate_private_key(curve()))


@cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    """Making one takes up to a second, so there is one of each size."""
    return rsa.generate_private_key(65537, bits)


def token(
    key: Key, header: dict[str, Any] | None = None, without: tuple[str, ...] = (), **claims: Any
) -> str:
    """A token for alice that is valid for a minute, but for what the claims say."""
    now = int(time.time())
    said = {"iss": NAME, "aud": "digits", "sub": "alice", "iat": now, "exp": now + 60} | claims
    said = {name: value for name, value in said.items() if name not in without}
    named = {"kid": key.kid} if key.kid else {}
    return jwt.encode(said, key.private, key.algorithm, {**named, **(header or {})})


@dataclass
class Issuer:
    """The web server: its keys, how often they were read, and how it behaves."""

    base: str = "http://127.0.0.1"
    port: int = 0
    keys: list[Key] = field(default_factory=list)
    reads: int = 0
    status: int = 200
    seconds: float = 0.0
    body: bytes | None = None

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"{self.base}:{self.port}/jwks"

    def settings(self, **more: Any) -> dict[str, Any]:
        """As of `serving.jwt`."""
        return {"issuer": NAME, "audience": "digits", "jwks": self.url, **more}


@contextmanager
def issuing(
    *keys: Key, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> Iterator[Issuer]:
    """An issuer that runs until the end.

    Args:
        keys: that it has at first.
        host, port: where it answers; 0: any free port.
        context: of a server of https; None: it answers without TLS.
    """
    issuer = Issuer(f"http{'s' if context else ''}://{host}", keys=[*keys])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.reads += 1
            time.sleep(issuer.seconds)
            body = issuer.body or json.dumps({"keys": [key.public for key in issuer.keys]}).encode()
            with suppress(ConnectionError):  # whoever asked is gone
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer((host, port), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    issuer.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
