"""Servers of S3, of Google Cloud Storage and of Azure Blob Storage on free ports of 127.0.0.1."""

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from email.utils import formatdate
from pathlib import Path

import pytest

from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.images import build, node

READY_S = 60.0
VIRTUAL_DOMAIN = (
    "s3.tidegate.test"  # resolves nowhere: a request for BUCKET.DOMAIN gets here by $HTTP_PROXY only
)


class BucketServer(ABC):
    """A server in a process of its own, with the bucket `tidegate`.

    Attributes:
        scheme: of its URLs.
        endpoint: its own URL, as a target has it.
    """

    bucket = "tidegate"
    scheme: str
    endpoint: str

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def argv(self) -> list[str]:
        """The server's command line."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Where a client finds server and credentials, and nothing of this machine's own."""

    def url(self, prefix: str) -> str:
        """The URL of a place in the bucket."""
        return f"{self.scheme}://{self.bucket}/{prefix}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.argv(), stdout=log, stderr=log, env=self.own_environment())
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self.process.poll() is None, (self.root / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def own_environment(self) -> dict[str, str]:
        """Of the server's process."""
        return dict(os.environ)

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
        """Kill the server at once."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class S3Server(BucketServer):
    """versitygw, which checks the signature of each request; `folder` is the bucket, whose files are the objects."""

    scheme = "s3"

    def __init__(self, root: Path) -> None:
        self.data = root / "s3"
        self.folder = self.data / self.bucket
        self.folder.mkdir(parents=True)
        self.users = root / "users"
        self.users.mkdir()
        super().__init__(root)
        self.credentials = root / "credentials"
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        self.write_credentials(self.key, self.secret)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    @staticmethod
    def program() -> str:
        """Its binary; built from its pinned source when it is not in the testbed's cache (a minute)."""
        cache = Layout.default().cache
        for tool in build.missing(cache):
            if tool.folder == "versitygw":
                build.build(cache, tool)
        return str(build.binary(cache, "versitygw"))

    def write_credentials(self, key: str, secret: str) -> None:
        """What clients find from now on."""
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        )

    def add_user(self, key: str, secret: str) -> None:
        """Make a user who may do nothing in the bucket."""
        argv = [self.program(), "admin", "--endpoint-url", self.endpoint, "create-user", "--role", "user"]
        env = {**os.environ, "ADMIN_ACCESS_KEY": self.key, "ADMIN_SECRET_KEY": self.secret}
        subprocess.run([*argv, "--access", key, "--secret", secret], env=env, check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        """The server and the file of credentials."""
        return {
            "TIDEGATE_S3_ENDPOINT": self.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def own_environment(self) -> dict[str, str]:
        """Of versitygw: its first user."""
        return {**os.environ, "ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}

    def argv(self) -> list[str]:
        """Its command line; what is on its disk stays when it is killed."""
        place = ["--port", f"127.0.0.1:{self.port}", "--quiet", "--virtual-domain", VIRTUAL_DOMAIN]
        return [self.program(), *place, "--iam-dir", str(self.users), "posix", str(self.data)]


class GoogleServer(BucketServer):
    """fake-gcs-server; it takes any token."""

    scheme = "gs"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The server, and a token."""
        return {"GOOGLE_BASE_URL": self.endpoint, "GOOGLE_BEARER_TOKEN": "any"}

    def argv(self) -> list[str]:
        """Its binary; built from its pinned source when it is not in the testbed's cache."""
        cache = Layout.default().cache
        try:
            build.build(cache, next(tool for tool in build.TEST_TOOLS if tool.folder == "fake-gcs-server"))
        except PreconditionError as error:
            pytest.skip(f"no server of Google Cloud Storage: {error}")
        binary = str(build.binary(cache, "fake-gcs-server"))
        return [binary, "-address", f"127.0.0.1:{self.port}", "-bucket", self.bucket]


class AzureServer(BucketServer):
    """azurite, which checks the signature of each request; the account and its key are the test's own."""

    scheme = "az"
    account = "tidegatetest"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.endpoint = f"http://127.0.0.1:{self.port}/{self.account}"

    def environment(self) -> dict[str, str]:
        """The server, the account and its key."""
        return {
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
        }

    def own_environment(self) -> dict[str, str]:
        """Of azurite: the account."""
        return {**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}

    def argv(self) -> list[str]:
        """Its program; installed when it is not in the testbed's cache."""
        try:
            program = node.program(Layout.default().cache, "azurite", "azurite-blob")
        except PreconditionError as error:
            pytest.skip(f"no server of Azure Blob Storage: {error}")
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence"]
        # It refuses versions of the API that are newer than itself.
        return [*program, *place, "--silent", "--skipApiVersionCheck", "--disableTelemetry"]

    def start(self) -> None:
        """Start the server and make the container, which obstore cannot."""
        super().start()
        path, date = f"/{self.account}/{self.bucket}", formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": "2023-11-03"}
        # Azure Storage, "Authorize with Shared Key": eleven headers that are not there, then those of its own.
        signed = "\n".join(
            [
                "PUT",
                *([""] * 11),
                *(f"{name}:{value}" for name, value in headers.items()),
                f"/{self.account}{path}",
                "restype:container",
            ]
        )
        mac = hmac.new(base64.b64decode(self.key), signed.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(mac).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("PUT", f"{path}?restype=container", headers=headers | {"Content-Length": "0"})
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        connection.close()
