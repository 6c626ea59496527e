"""An endpoint of every model family on every runtime, a real process each."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.forked import Program, Server
from tidegate.infra.system.locks import lock
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.deployment.handover import server_argv, wait_ready

from .bundles import RUNTIMES
from .families import CASES as FAMILIES

# TensorFlow's import makes a start of ten seconds: one family with it always, the others where time is no matter. So
# are those that are asked and answer as another one does: for gru's series and cnn's images.
ALIKE = {"rnn", "lstm", "inception"}
CASES = [
    pytest.param((family, runtime), id=f"{family}-{runtime}", marks=pytest.mark.slow if slow else ())
    for runtime in RUNTIMES
    for family in FAMILIES
    for slow in [family != "cnn" if runtime == "tensorflow" else family in ALIKE]
]


def triton_http() -> Any:
    """`tritonclient.http`; a test that asks for it is skipped where pyproject.toml leaves it out."""
    return pytest.importorskip(
        "tritonclient.http",
        reason="geventhttpclient has no wheel for this Python or system",
        exc_type=ImportError,
    )


@dataclass(frozen=True)
class Endpoint:
    """Where it answers, and what it has to answer: `rows` and the offline bundle's `expected` values."""

    name: str
    runtime: str
    port: int
    grpc_port: int
    contract: Contract
    rows: list[Any]
    expected: NDArray[np.float32]

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and parsed JSON body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def columns(self, rows: list[Any] | None = None) -> dict[str, NDArray[Any]]:
        """The rows as one array an input, strings as objects."""
        parsed = RequestReader(self.contract).parse_rows(self.rows if rows is None else rows)
        return {name: np.asarray(column) for name, column in parsed.items()}


def built(what: str, tmp: pytest.TempPathFactory) -> Path:
    """The folder with the bundles of `tests.conformance.WHAT`, made once for all processes of this test session."""
    base = tmp.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"bundles-{what}"
    with lock(folder.with_suffix(".lock")):
        if not folder.exists():
            making = tmp.mktemp(what)
            program = Program("tensorflow", f"tests.conformance.{what}", str(making))
            _, errors = program.communicate()
            assert program.returncode == 0, errors[-3000:]
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle of every family on every runtime."""
    return built("families", tmp_path_factory)


@contextmanager
def _serving(family: str, runtime: str, bundles: Path, kind: str, folder: Path) -> Iterator[Endpoint]:
    rows = json.loads((bundles / f"{family}.json").read_text())
    expected = np.load(bundles / f"{family}-{runtime}.npy")
    with serving(bundles / f"{family}-{runtime}{kind}", family, runtime, rows, expected, folder) as running:
        yield running


@contextmanager
def serving(
    bundle: Path, family: str, runtime: str, rows: list[Any], expected: NDArray[Any], folder: Path
) -> Iterator[Endpoint]:
    """A server of a bundle, as release 2; `folder` is for its control socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        grpc_port = probe.getsockname()[1]
    control = folder / "control"
    argv = [*server_argv(bundle, family, 2, control), "--grpc-port", str(grpc_port)]
    process = Server(argv)
    try:
        status = wait_ready(control, 120, lambda: process.poll() is None)
        yield Endpoint(
            family, runtime, status["private_port"], grpc_port, open_bundle(bundle).contract, rows, expected
        )
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="session", params=CASES)
def endpoint(
    request: pytest.FixtureRequest, bundles: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Each of them in turn, as release 2."""
    with _serving(*request.param, bundles, "", tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session", params=CASES)
def batched(
    request: pytest.FixtureRequest, bundles: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """The same, of bundles that say that waiting requests are to be predicted together."""
    with _serving(*request.param, bundles, "-batched", tmp_path_factory.mktemp("server")) as running:
        yield running
