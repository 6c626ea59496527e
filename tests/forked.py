"""Processes of tests that are forked where what they import is imported: 3 to 5 s of CPU time for Keras alone.

Where nothing is forked (`TIDEGATE_FORK_SERVER=0`), and where a process needs other circumstances, it is started anew.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tidegate.models.distributed.devices import keep_compiled
from tidegate.pipelines.executors.forking.imports import TRAIN, Kind
from tidegate.pipelines.executors.forking.servers import ForkServers
from tidegate.serving.runtimes.onnx import NO_TELEMETRY

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate" / "tests"
ON_KERAS = "tests.on_keras"
# By backend. Of JAX nothing but imports is done before a fork: its threads begin with its first operation.
KERAS = {
    "tensorflow": Kind(
        name="on-tensorflow",
        module=ON_KERAS,
        function="main",
        before=(ON_KERAS, "scipy.linalg", "pyarrow"),
        keras=True,
        after=(*TRAIN.after, "tidegate.models.families.build"),
    ),
    "jax": Kind(
        name="on-jax",
        module=ON_KERAS,
        function="main",
        before=(ON_KERAS, "scipy.linalg", "pyarrow", "tests.on_jax"),
    ),
}
# An endpoint's server, with the runtime that most bundles have.
MODULE = "tidegate.serving.server"
SERVER = Kind(
    name="server",
    module=f"{MODULE}.__main__",
    function="main",
    before=(
        "onnxruntime",
        "tidegate.serving.server.__main__",
        "tidegate.serving.server.service",
        "tidegate.serving.server.several",
        "tidegate.serving.runtimes.onnx",
        "uvloop",
    ),
)
SCHEMATHESIS = Kind(
    name="schemathesis",
    module="schemathesis.cli",
    function="schemathesis",
    before=(
        "schemathesis.cli.commands.run.executor",
        "schemathesis.engine.core",
        "schemathesis.engine.run.unit",
        "schemathesis.openapi.loaders",
        "schemathesis.specs.openapi.schemas",
    ),
)
# What a server sets for itself before it imports them.
VARIABLES = {NO_TELEMETRY: "1", "BENTOML_DO_NOT_TRACK": "True"}
KINDS = ((KERAS["tensorflow"], {}), (KERAS["jax"], {}), (SERVER, VARIABLES), (SCHEMATHESIS, {}))


def keep_programs() -> None:
    """Keep what JAX compiles from one session of tests to the next."""
    keep_compiled(CACHE)


class Forked:
    """The part of `subprocess.Popen` that tests use.

    Args:
        kind: of the process; None: it is started anew.
        argv: its command line.
        environment: its variables.
        folder: its working folder.
        files: its standard output and error, which stay open here; default: what `communicate` returns.

    Attributes:
        returncode: None until its end was seen.
    """

    def __init__(
        self,
        kind: Kind | None,
        argv: Sequence[str],
        environment: dict[str, str],
        folder: Path = ROOT,
        files: tuple[int, int] | None = None,
    ) -> None:
        self._told = [] if files else [_Told(), _Told()]
        reading, writing = os.pipe()
        ends = [os.dup(file) for file in files] if files else [told.end for told in self._told]
        self._process = ForkServers(own=False).start_on(
            (reading, *ends), os.fdopen(writing, "wb"), kind, argv, environment, folder
        )

    @property
    def pid(self) -> int:
        """Its process id, once it has one."""
        while self._process.pid is None:
            assert self.poll() is None
            time.sleep(0.01)
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def poll(self) -> int | None:
        """None while it runs, then its exit code; below 0 for a signal."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code; raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout)
        self._process.stdin.close()
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and until nobody has its output open; what it printed, and its standard error.

        Raises:
            subprocess.TimeoutExpired: it still runs, or something that it left has its output.
        """
        self.wait(timeout)
        out, err = (told.all(timeout) for told in self._told)
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        pid = self.pid
        if self.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill it; nothing happens after its end."""
        self._process.kill()


class _Told:
    """A pipe, read to its end by a thread.

    Attributes:
        end: where is written, for another process; it is closed here by who passes it on.
    """

    def __init__(self) -> None:
        reading, self.end = os.pipe()
        self._text = ""
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, "rb") as file:
            self._text = file.read().decode()

    def all(self, timeout: float | None) -> str:
        """What was written, once nobody can write any more; raises subprocess.TimeoutExpired."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("what holds the output", timeout or 0.0)
        return self._text


class Program(Forked):
    """`python -m tests.on_keras WORDS...` on a backend of Keras.

    Args:
        backend: of Keras.
        words: a module or `-c CODE`, and its own words.
        env: variables beside those of this process.
    """

    def __init__(self, backend: str, *words: str, env: Mapping[str, str] | None = None) -> None:
        variables = with_tests({**os.environ, "KERAS_BACKEND": backend, **(env or {})})
        super().__init__(KERAS.get(backend), [sys.executable, "-m", ON_KERAS, *words], variables)


class Server(Forked):
    """An endpoint's server.

    Args:
        argv: of `server_argv`, and more arguments.
        files: see `Forked`; default: those of this process.
    """

    def __init__(self, argv: Sequence[str], files: tuple[int, int] = (1, 2)) -> None:
        words = argv[argv.index(MODULE) + 1 :]
        super().__init__(
            SERVER, [sys.executable, "-P", "-m", SERVER.module, *words], with_tests(os.environ), files=files
        )


def with_tests(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of a process that imports from `tests`, and of the server that forks it.

    A copy of this repository, too, finds its own code, and not that which is installed.
    """
    return {**variables, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / ".src")))}
