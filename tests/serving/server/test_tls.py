"""A server with a certificate: HTTP and gRPC over TLS, and a new certificate while it serves."""

import http.client
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from tests.certificates import DAY, Authority, Issued
from tests.serving.conftest import Running
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.connections import CLOSED, Trust, page_of
from tidegate.serving.errors import ClientError, ServerError
from tidegate.serving.grpc_v2.messages import CLASSES, SERVICE
from tidegate.serving.http.tls import CHECK, Certificate

ROW = [[7] * 8 for _ in range(8)]
NAME = "digits.tidegate.svc"
BODY = json.dumps({"rows": [ROW]}).encode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def shown(port: int, authority: Authority, name: str | None = NAME, host: str = "127.0.0.1") -> int:
    """The number of the certificate that a server shows; with or without a name in the handshake."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.check_hostname = name is not None
    with (
        socket.create_connection((host, port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


def arguments(issued: Issued, folder: Path) -> list[str]:
    certificate, key = issued.write(folder)
    return ["--tls-cert", str(certificate), "--tls-key", str(key)]


class Load:
    """Asks over new and over kept connections until it is told to stop; every answer counts."""

    def __init__(self, port: int, authority: Authority) -> None:
        self.answers, self.failures, self._over = 0, list[str](), threading.Event()
        self._context = ssl.create_default_context(cadata=authority.pem.decode())
        self._context.check_hostname = False
        self._port = port
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (False, True)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, kept: bool) -> None:
        connection = self._connect()
        while not self._over.is_set():
            try:
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(str(answer.status))
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            if not kept:
                connection.close()
            time.sleep(0.01)
        connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._context)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_new_certificate_is_shown_without_a_failed_request(
    serve: Callable[..., Running], images: Path, tmp_path: Path, authority: Authority, processes: int
) -> None:
    old, new = (
        authority.issue(NAME, rsa_key=True),
        authority.issue(NAME, valid=9 * DAY),
    )  # another kind of key
    server = serve(images, *arguments(old, tmp_path), "--processes", str(processes))
    with Load(server.port, authority) as load:
        assert shown(server.port, authority) == shown(server.port, authority, None) == old.serial
        (tmp_path / "tls.crt").write_bytes(new.certificate)  # only one of the two is there yet
        time.sleep(CHECK + 0.2)
        assert {shown(server.port, authority) for _ in range(6)} == {old.serial}
        new.write(tmp_path)
        deadline = time.monotonic() + 20
        while shown(server.port, authority) != new.serial and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(CHECK + 0.2)  # each of several processes looks for itself
        assert {shown(server.port, authority, name) for name in (NAME, None) for _ in range(4)} == {
            new.serial
        }
    assert load.failures == []
    assert load.answers > 50
    page = page_of(f"https://127.0.0.1:{server.port}", "/metrics", 10, Trust(authority.pem.decode(), NAME))
    (line,) = [
        line for line in page.splitlines() if line.startswith("tidegate_certificate_end_timestamp_seconds{")
    ]
    end = x509.load_pem_x509_certificate(new.certificate).not_valid_after_utc
    assert float(line.rpartition(" ")[2]) == end.timestamp()


def test_the_client_checks_the_certificate(
    serve: Callable[..., Running], images: Path, tmp_path: Path, authority: Authority
) -> None:
    server = serve(images, *arguments(authority.issue(NAME), tmp_path))
    url, pem = f"https://127.0.0.1:{server.port}", authority.pem.decode()
    with Client(url, trust=Trust(pem, NAME)) as client:
        assert client.ready()
        assert len(client.predict([ROW])) == 1
    for trust, words in (
        (Trust(pem), r"IP address mismatch.*expected one for 127.0.0.1; issue it"),
        (Trust(pem, "other.svc"), r"Hostname mismatch.*expected one for other.svc; issue it"),
        (Trust(Authority().pem.decode(), NAME), r"not trusted.*authority of `tls.ca` in targets.yaml"),
        (None, r"not trusted.*\$SSL_CERT_FILE"),
        (Trust("no PEM", NAME), r"authority of .* cannot be read.*correct `ca`"),
    ):
        with pytest.raises(ClientError, match=words), Client(url, trust=trust) as client:
            client.contract()
    with pytest.raises(ClientError, match="does not answer"), Client(url.replace("https", "http")) as client:
        client.contract()


def test_grpc_shows_the_newest_certificate(
    serve: Callable[..., Running], images: Path, tmp_path: Path, authority: Authority, free_port: int
) -> None:
    old, new = authority.issue("localhost"), authority.issue("localhost")
    serve(images, *arguments(old, tmp_path), "--grpc-port", str(free_port))

    def live() -> bool:
        credentials = grpc.ssl_channel_credentials(authority.pem)
        with grpc.secure_channel(f"localhost:{free_port}", credentials) as channel:
            call = channel.unary_unary(
                f"/{SERVICE}/ServerLive",
                lambda message: message.SerializeToString(),
                CLASSES["ServerLiveResponse"].FromString,
            )
            return bool(call(CLASSES["ServerLiveRequest"](), timeout=10).live)

    assert live()
    assert shown(free_port, authority, "localhost") == old.serial
    new.write(tmp_path)
    time.sleep(CHECK + 0.2)
    assert shown(free_port, authority, "localhost") == new.serial
    assert live()


def test_a_client_that_does_not_shake_hands_is_let_go(
    serve: Callable[..., Running], images: Path, tmp_path: Path, authority: Authority
) -> None:
    issued = authority.issue(NAME)
    server = serve(images, *arguments(issued, tmp_path), "--receive-seconds", "1")
    silent = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(40)]
    try:
        silent[0].sendall(b"GET / HTTP/1.1\r\n\r\n")  # not even TLS
        assert shown(server.port, authority) == issued.serial  # others are answered meanwhile
        assert {one.recv(100)[1:2] for one in silent} <= {b"", b"\x03"}  # an end, or TLS's alert
    finally:
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda known: known.issue(NAME)._replace(key=known.issue(NAME).key),
            "does not belong to the key there",
        ),
        (
            lambda known: known.issue(NAME, valid=-DAY),
            "is valid from .* expected one that is valid now; renew it",
        ),
        (lambda known: known.issue(NAME)._replace(certificate=b"nothing"), "cannot be read.*both in PEM"),
        (lambda known: known.issue(NAME)._replace(key=b""), "cannot be read.*both in PEM"),
    ],
)
def test_a_certificate_that_nobody_would_accept_is_refused(
    tmp_path: Path, authority: Authority, make: Callable[[Authority], Issued], words: str
) -> None:
    files = make(authority).write(tmp_path)
    with pytest.raises(ServerError, match=words):
        Certificate(*files)


def test_a_server_with_half_a_certificate_does_not_start(
    run_python: Callable[..., subprocess.CompletedProcess[str]], images: Path, tmp_path: Path
) -> None:
    argv = ["-m", "tidegate.serving.server", "--bundle", str(images), "--port", "0"]
    found = run_python(*argv, "--tls-cert", str(tmp_path / "tls.crt"))
    assert (found.returncode, "expected --tls-key beside it" in found.stderr) == (1, True)
    found = run_python(*argv, "--tls-cert", str(tmp_path / "no.crt"), "--tls-key", str(tmp_path / "no.key"))
    assert found.returncode == 1
    assert "cannot be read" in found.stderr


def test_a_prefix_of_paths_is_taken_away(serve: Callable[..., Running], images: Path) -> None:
    server = serve(images, "--path-prefix", "/digits")

    def status(path: str, body: bytes | None = None) -> Any:
        return server.ask("POST" if body else "GET", path, body, Content_Type="application/json")[0]

    assert [status(path, BODY) for path in ("/predict", "/digits/predict", "/digitsx/predict")] == [
        200,
        200,
        404,
    ]
    pages = (
        "/digits",
        "/digits/",
        "/digits?x=1",
        "/digits/readyz",
        "/readyz",
        "/digitsx/readyz",
        "/x/readyz",
    )
    assert [status(path) for path in pages] == [200, 200, 200, 200, 200, 404, 404]


def test_an_idle_connection_that_ended_is_opened_anew(authority: Authority, tmp_path: Path) -> None:
    """As a balancer ends one, or the kill of a pod: TCP is reset, and TLS says nothing."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(NAME).write(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))
    read, ended = threading.Event(), threading.Event()

    def serve() -> None:
        for answered in (1, 2):
            plain, _ = listener.accept()
            connection = context.wrap_socket(plain, server_side=True)
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + b'{"answered":' + b"%d}" % answered
            )
            if answered == 1:
                read.wait(10)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            ended.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    with listener, Client(url, trust=Trust(authority.pem.decode(), NAME)) as client:
        assert client.contract() == {"answered": 1}
        read.set()
        assert ended.wait(10)
        assert client.contract() == {"answered": 2}
        thread.join(10)


@pytest.mark.parametrize("error", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
def test_what_tls_says_of_an_ended_connection_is_known(error: type[Exception]) -> None:
    assert issubclass(error, CLOSED)
