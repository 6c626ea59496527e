"""The command line as users run it: a process, in a home of its own."""

import contextlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import forked
from tests.bucket_servers import AzureServer, BucketServer, GoogleServer, S3Server
from tests.forked import Forked
from tests.mlflow_database import give_database
from tests.mlflow_server import MLFLOW, VARIABLES, give_mlflow
from tidegate.pipelines import commands
from tidegate.pipelines.executors.base import step_environment
from tidegate.pipelines.executors.forking.imports import STEPS, SYNC, TRAIN, Kind
from tidegate.pipelines.executors.forking.servers import (
    VARIABLE,
    ForkServers,
    can_fork,
    end_servers,
    start_server,
)
from tidegate.pipelines.executors.forking.warm import VARIABLE as WARM

ROOT = Path(__file__).parent.parent
# Commands of the tests' homes: forked with all of a command's imports done, but none of a framework.
COMMANDS = Kind(
    name="commands",
    module="tidegate.pipelines.cli",
    function="main",
    before=(
        "tidegate.pipelines.cli",
        "numpy",
        *(found.name for found in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}.")),
    ),
)

LOG_LEVEL = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")
# Files of these folders take a minute or two: one that begins last leaves the other process of `make test` idle.
LONG = (
    "faults",
    "pipelines/walks",
    "conformance",
    "compat",
    "docs",
    "pipelines",
    "browser",
    "models/loops",
    "models/distributed",
)
# These files ask the same servers, which one process of `make test` then starts once.
TOGETHER = tuple(f"tests/conformance/test_{name}.py" for name in ("dialects", "equality", "grpc", "openapi"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole files, as `--dist loadfile` does; those of TOGETHER as if they were one."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER[0] if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; what needs a package or a device runs where that is.

    PyPI's PyTorch for Linux brings 3 GB of CUDA: what needs it runs where it is installed; a GPU likewise.
    """
    items.sort(key=_place)
    lacking = {}
    if find_spec("torch") is None:
        lacking["torch"] = "PyTorch is not installed here: run `make test-torch`"
    if not Path("/dev/nvidia0").exists():
        lacking["gpu"] = "no NVIDIA GPU is here: run `make test-gpu` where `nvidia-smi` lists one"
    for item in items:
        for mark, reason in lacking.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def _place(item: pytest.Item) -> int:
    """Where a test's folder is in LONG; after all of them when it is not."""
    folder = item.path.parent.relative_to(ROOT / "tests").as_posix()
    return next((place for place, long in enumerate(LONG) if f"{folder}/".startswith(f"{long}/")), len(LONG))


def pytest_runtest_setup() -> None:
    """tf2onnx sets another level when it is imported, and fork servers take no process with other variables."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = LOG_LEVEL


def pytest_configure(config: pytest.Config) -> None:
    """Fork servers for all that is submitted in this session; nothing is imported in them before a step comes.

    A test that is about them, or about processes of their own, sets the variable for itself. No server stays behind a
    submit unless its test asks for it. What JAX compiles is kept from one session to the next.
    """
    os.environ.setdefault(WARM, "0")
    forked.keep_programs()
    if hasattr(config, "workerinput") or VARIABLE in os.environ or not can_fork():
        return
    # Else TensorFlow sets it in whatever process imports it.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = LOG_LEVEL
    os.environ[VARIABLE] = f"tests-{os.getpid()}"
    whole = dict(os.environ)
    for kind, environment in (
        (STEPS, step_environment()),
        (TRAIN, step_environment()),
        (SYNC, step_environment()),
        (COMMANDS, whole),
        (MLFLOW, {**whole, **VARIABLES}),
        *((kind, forked.with_tests(whole) | set_before) for kind, set_before in forked.KINDS),
    ):
        server = start_server(kind, os.environ[VARIABLE], environment, 2, own_code=kind is TRAIN)
        config.add_cleanup(partial(end_servers, [server]))


@dataclass(frozen=True)
class Ran:
    """What a command printed and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cli:
    """`tidegate` with one home; `env` is added to the environment."""

    home: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-P", "-m", "tidegate.pipelines.cli", *args, "--home", str(self.home)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "BENTOML_HOME": str(self.home.parent / "bentoml"), **self.env}

    def __call__(self, *args: str, stdin: str = "", cwd: Path = ROOT, timeout: float = 300) -> Ran:
        """Run a command to its end, in a process that is forked where its imports are done."""
        with contextlib.ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin.encode())
            given.seek(0)
            files = [os.dup(file.fileno()) for file in (given, out, err)]
            argv = self._ready(*args, give=give_mlflow if self._forks() else give_database)
            kind = COMMANDS if COMMANDS.module in argv else None
            process = ForkServers(own=False).start_on(files, given, kind, argv, self.environment(), cwd)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill_group()
                raise
            out.seek(0)
            err.seek(0)
            return Ran(code, out.read().decode(), err.read().decode())

    def _ready(self, *args: str, give: Callable[[Path], object] = give_database) -> list[str]:
        """The command line; a local home that is submitted from has MLflow's tables, or its server, from then on."""
        argv = self.argv(*args)
        if args[0] == "submit" and "--target" not in argv:
            give(self.home)
        return argv

    def _forks(self) -> bool:
        """Whether this session's fork servers are to be used, and MLflow is the home's own."""
        environment = self.environment()
        return environment.get(VARIABLE) not in (None, "", "0") and "MLFLOW_TRACKING_URI" not in environment

    def ok(self, *args: str, stdin: str = "") -> Any:
        """Run a command with --json that must end well; return its document."""
        ran = self(*args, "--json", stdin=stdin)
        assert ran.code == 0, ran.stderr
        return ran.json

    def start(self, *args: str) -> Forked:
        """Start a command and return at once."""
        argv = self._ready(*args)
        return Forked(COMMANDS if COMMANDS.module in argv else None, argv, self.environment())

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started for this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and any(str(self.home) in word for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(autouse=True)
def same_backend() -> Iterator[None]:
    """Whatever a test does in this process, the next one finds Keras' backend as it was."""
    before = os.environ.get("KERAS_BACKEND")
    yield
    os.environ.pop("KERAS_BACKEND", None)
    if before is not None:
        os.environ["KERAS_BACKEND"] = before


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A home shared by the tests of one process: look and add, but do not take down."""
    cli = Cli(tmp_path_factory.mktemp("shared") / "home")
    yield cli
    cli("down")


@pytest.fixture(scope="session")
def digits(shared: Cli) -> dict[str, Any]:
    """The answer of a submitted `digits` in the shared home."""
    answer: dict[str, Any] = shared.ok("submit", "digits", "--set", "training.epochs=8")
    return answer


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """A home of the test's own; whatever runs in it is stopped."""
    cli = Cli(tmp_path / "home")
    yield cli
    if (cli.home / "processes").exists():
        cli("down")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests of a process."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, as what the environment of the test names."""
    _named("AWS_", s3_server.environment(), monkeypatch)
    return s3_server


def _named(prefix: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only these variables of a cloud's are set; who signed its certificate is this machine's matter."""
    for name in [name for name in os.environ if name.startswith(prefix) and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def google_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """One server of Google Cloud Storage for all tests of a process."""
    server = GoogleServer(tmp_path_factory.mktemp("google"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """One server of Azure Blob Storage for all tests of a process."""
    server = AzureServer(tmp_path_factory.mktemp("azure"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def google(google_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """The server of Google Cloud Storage, as what the environment of the test names."""
    _named("GOOGLE_", google_server.environment(), monkeypatch)
    return google_server


@pytest.fixture
def azure(azure_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """The server of Azure Blob Storage, as what the environment of the test names."""
    _named("AZURE_", azure_server.environment(), monkeypatch)
    return azure_server
