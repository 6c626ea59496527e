"""What the client brings to an endpoint and what it says when that is not enough: keys, certificates."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.serving.conftest import Running
from tests.serving.http.test_access import _line
from tidegate.serving.deployment.client import Client, api_key
from tidegate.serving.errors import ClientError

ROW = [[7] * 8 for _ in range(8)]


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_API_KEY", raising=False)
    assert api_key() is None
    monkeypatch.setenv("TIDEGATE_API_KEY", " from-the-environment\n")
    assert api_key() == "from-the-environment"
    (tmp_path / "key").write_text("from-the-file\n# my own\n")
    assert api_key(tmp_path / "key") == "from-the-file"
    for content in ("", "two words", "a\x07bell", "schlüssel"):
        (tmp_path / "key").write_text(content)
        with pytest.raises(ClientError, match=r"holds no key; expected one word"):
            api_key(tmp_path / "key")
    with pytest.raises(ClientError, match=r"the key file .* cannot be read"):
        api_key(tmp_path / "nothing")


def test_an_endpoint_with_keys(serve: Callable[..., Running], images: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(_line("me", "my-key"))
    server = serve(images, "--keys", str(tmp_path / "keys"))
    url = f"http://127.0.0.1:{server.port}"
    with Client(url, key="my-key") as client:
        assert len(client.predict([ROW])) == 1
    with (
        Client(url) as client,
        pytest.raises(ClientError, match=r"401: the request had no API key") as caught,
    ):
        client.contract()
    assert caught.value.status == 401
    with (
        Client(url, key="other") as client,
        pytest.raises(ClientError, match="the API key is not valid"),
    ):
        client.contract()


class _Forbidding(BaseHTTPRequestHandler):
    """A gateway that lets nobody through who does not bring the key."""

    def do_GET(self) -> None:
        """Answer."""
        known = self.headers.get("Authorization") == "Bearer my-key"
        body = b'{"inputs": []}' if known else b"<html>no</html>"
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server that speaks TLS, and its certificate."""
    make = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")]
    subprocess.run(["openssl", *make.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", tmp_path / "tls.crt"
    server.shutdown()
    server.server_close()


def test_https(https: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, certificate = https
    with Client(url) as client, pytest.raises(ClientError, match=r"is not trusted .*SSL_CERT_FILE"):
        client.contract()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Client(url, key="my-key") as client:
        assert client.contract() == {"inputs": []}
    with Client(url) as client, pytest.raises(ClientError, match=r"answered 403: .*TIDEGATE_API_KEY"):
        client.contract()


def test_predict_brings_the_key_of_a_file(
    serve: Callable[..., Running], images: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(_line("me", "my-key"))
    (tmp_path / "key").write_text("my-key\n")
    (tmp_path / "rows.json").write_text(f'{{"rows": [{ROW}]}}')
    server = serve(images, "--keys", str(tmp_path / "keys"))
    argv = ["predict", f"http://127.0.0.1:{server.port}", "--input", str(tmp_path / "rows.json")]
    argv += ["--home", str(tmp_path / "home"), "--json"]
    run = [sys.executable, "-P", "-m", "tidegate.pipelines.cli", *argv]
    refused = subprocess.run(run, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "the request had no API key" in refused.stderr
    done = subprocess.run(
        [*run, "--key-file", str(tmp_path / "key")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"predictions"' in done.stdout
    assert "my-key" not in done.stdout + done.stderr
