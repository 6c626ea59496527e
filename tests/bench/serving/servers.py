"""The servers that are compared: how each is started, when it is ready, what memory and CPU time it takes."""

import http.client
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tidegate.serving.deployment.connections import Trust, connection_to

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


@dataclass(eq=False)
class Server:
    """A server as a command with its port, and where it says that it is ready."""

    name: str
    argv: list[str]
    port: int
    ready: str = "/readyz"
    env: dict[str, str] = field(default_factory=dict)
    trust: Trust | None = None  # of one that speaks HTTPS
    process: "subprocess.Popen[bytes] | None" = None
    seconds: float = 0.0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http{'s' if self.trust else ''}://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start it, return the seconds until it was ready."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_DO_NOT_TRACK": "True", **self.env}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            self.argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self._is_ready():
            if self.process.poll() is not None or time.perf_counter() - began > 120:
                raise SystemExit(f"{self.name} did not start: {' '.join(self.argv)}")
            time.sleep(0.01)
        self.seconds = time.perf_counter() - began
        return self.seconds

    def stop(self) -> None:
        """End it and its children."""
        if self.process is None:
            return
        for child in self._family():
            child.kill()
        self.process.wait()
        self.process = None

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def memory(self) -> float:
        """Proportional set size of all its processes, in MB."""
        return sum(process.memory_full_info().pss for process in self._family()) / 1e6

    def _family(self) -> list[psutil.Process]:
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [*parent.children(recursive=True), parent]

    def _is_ready(self) -> bool:
        connection = connection_to(self.url, 2, self.trust)
        try:
            connection.request("GET", self.ready)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ours(name: str, bundle: Path) -> Server:
    """Tidegate's endpoint."""
    port = free_port()
    argv = [
        sys.executable,
        "-m",
        "tidegate.serving.server",
        "--bundle",
        str(bundle),
        "--name",
        name,
        "--release",
        "1",
    ]
    return Server("Tidegate", [*argv, "--port", str(port)], port)


def bare(model: Path) -> Server:
    """The bare server; the model's description lies beside it."""
    port, described = free_port(), model.with_suffix(".json")
    argv = [sys.executable, "-m", "tests.bench.serving.bare", str(model), str(described), str(port)]
    return Server("bare", argv, port)


def guide(model: Path) -> Server:
    """BentoML as its guide writes it."""
    port = free_port()
    argv = [str(BIN / "bentoml"), "serve", "tests.bench.serving.guide:Images", "--port", str(port)]
    return Server("BentoML's guide", argv, port, env={"MODEL": str(model)})


def mlflow(model: str, folder: Path) -> Server:
    """`mlflow models serve`."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.serving.mlflow_model", model, str(folder)]
    subprocess.run(
        argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
    argv = [
        str(BIN / "mlflow"),
        "models",
        "serve",
        "-m",
        str(folder),
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    return Server("mlflow models serve", argv, port, "/ping", {"PATH": path})
