"""A real S3 server (versitygw) on a free port of 127.0.0.1, with a folder of its own."""

import http.client
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.images import build

VIRTUAL_DOMAIN = (
    "s3.tidegate.test"  # resolves nowhere: a request for BUCKET.DOMAIN gets here by $HTTP_PROXY only
)
READY_S = 30.0


def program() -> Path:
    """The server's binary; built from its pinned source when it is not in the testbed's cache (a minute)."""
    cache = Layout.default().cache
    for tool in build.missing(cache):
        if tool.folder == "versitygw":
            build.build(cache, tool)
    return build.binary(cache, "versitygw")


class S3Server:
    """The server; `folder` is the bucket, whose files are the objects."""

    bucket = "tidegate"

    def __init__(self, root: Path) -> None:
        self.root = root / "s3"
        self.folder = self.root / self.bucket
        self.folder.mkdir(parents=True)
        self.users = root / "users"
        self.users.mkdir()
        self.credentials = root / "credentials"
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        self.write_credentials(self.key, self.secret)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def write_credentials(self, key: str, secret: str) -> None:
        """What clients find from now on."""
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        )

    def add_user(self, key: str, secret: str) -> None:
        """Make a user who may do nothing in the bucket."""
        argv = [str(program()), "admin", "--endpoint-url", self.endpoint, "create-user", "--role", "user"]
        env = {**os.environ, "ADMIN_ACCESS_KEY": self.key, "ADMIN_SECRET_KEY": self.secret}
        subprocess.run([*argv, "--access", key, "--secret", secret], env=env, check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        """Where a client finds server and credentials, and nothing of this machine's own."""
        return {
            "TIDEGATE_S3_ENDPOINT": self.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, prefix: str) -> str:
        """The URL of a place in the bucket."""
        return f"s3://{self.bucket}/{prefix}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        argv = [str(program()), "--port", f"127.0.0.1:{self.port}", "--quiet"]
        argv += ["--virtual-domain", VIRTUAL_DOMAIN, "--iam-dir", str(self.users), "posix", str(self.root)]
        env = {**os.environ, "ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}
        with (self.root.parent / "s3.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self.process.poll() is None, (self.root.parent / "s3.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def kill(self) -> None:
        """Kill the server at once; what is on its disk stays."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None
