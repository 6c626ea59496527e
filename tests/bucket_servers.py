"""Servers of Google Cloud Storage and of Azure Blob Storage on free ports of 127.0.0.1."""

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
        (tool,) = build.TEST_TOOLS
        try:
            build.build(cache, tool)
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
