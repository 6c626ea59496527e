"""AWS's S3 and token service (moto) on 127.0.0.1, behind a gate that takes only session tokens that live."""

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import boto3

READY_S = 60.0
BUCKET = "tidegate"
DENIED = b"<Error><Code>%s</Code><Message>no</Message></Error>"


class Gate(ThreadingHTTPServer):
    """Passes requests on; gives every session token a life of `life_s`, and refuses others.

    Attributes:
        life_s: of the tokens given from now on.
        slow_s: how long a part of an upload takes at least.
        refuses: whether the token service refuses.
        asked: of each role given, its ARN and the web identity token shown.
        used: the session token of each request that S3 took, in order.
        refused: how many requests had none, or one that had ended.
    """

    daemon_threads = True

    def __init__(self, behind: int, host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.behind = behind
        self.url = f"http://{host}:{self.server_address[1]}"
        self.life_s, self.slow_s, self.refuses = 3600.0, 0.0, False
        self.asked: list[tuple[str, str]] = []
        self.used: list[str] = []
        self.refused = 0
        self.ends: dict[str, float] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None: ...

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form = parse_qs(body.decode(errors="replace")) if self.path == "/" and self.command == "POST" else {}
        if form.get("Action") == ["AssumeRoleWithWebIdentity"]:
            self._give(body, form)
            return
        token = self.headers.get("X-Amz-Security-Token", "")
        if time.time() >= self.server.ends.get(token, 0.0):
            self.server.refused += 1
            self._answer(403, {}, b"" if self.command == "HEAD" else DENIED % b"ExpiredToken")
            return
        self.server.used.append(token)
        if "partNumber=" in self.path:
            time.sleep(self.server.slow_s)
        self._answer(*self._passed_on(body))

    def _give(self, body: bytes, form: dict[str, list[str]]) -> None:
        if self.server.refuses:
            self._answer(403, {}, b"<ErrorResponse>%s</ErrorResponse>" % (DENIED % b"AccessDenied"))
            return
        status, headers, content = self._passed_on(body)
        ends = time.time() + self.server.life_s
        stamp = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        content = re.sub(rb"(<Expiration>).*?(</Expiration>)", rb"\g<1>%s\g<2>" % stamp.encode(), content)
        given = re.search(rb"<SessionToken>(.*?)</SessionToken>", content)
        assert given, content
        # Each is another one: moto gives out the same token for the same role.
        token = f"{given[1].decode()}-{len(self.server.asked)}"
        content = content.replace(given[1], token.encode())
        self.server.ends[token] = ends
        self.server.asked.append((form["RoleArn"][0], form["WebIdentityToken"][0]))
        self._answer(status, headers, content)

    def _passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        onward = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        onward.request(self.command, self.path, body, dict(self.headers))
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        return answer.status, dict(answer.headers), content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        ours = {"connection", "date", "server", "transfer-encoding"}
        for name, value in headers.items():
            if name.lower() not in ours and (name.lower() != "content-length" or self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle


@contextmanager
def aws(folder: Path, host: str = "127.0.0.1") -> Iterator[Gate]:
    """Start moto with a bucket, and the gate before it at an address of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("ab") as log:
        process = subprocess.Popen(
            argv, stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        )
    try:
        deadline = time.monotonic() + READY_S
        while not _answers(port):
            assert process.poll() is None, (folder / "moto.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        maker = boto3.Session("anybody", "anything", region_name="us-east-1")
        client = maker.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        with Gate(port, host) as gate:
            thread = threading.Thread(target=gate.serve_forever, args=(0.05,))
            thread.start()
            yield gate
            gate.shutdown()
            thread.join()
    finally:
        process.kill()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0
