"""Small real bundles, and real server processes on free ports that never outlive a test."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.forked import Server
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import Probes, save_probes
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.chain import Chain
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.deployment.handover import server_argv, wait_ready
from tidegate.serving.inference.predictor import sample_rows

ROOT = Path(__file__).resolve().parents[2]
PROOF = Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1)


def package(
    folder: Path,
    schema: Schema,
    columns: Columns,
    write: Callable[[Path, str, Any], None],
    name: str = "digits",
    run: str = "run-1",
) -> Path:
    """A bundle of one model input, its network written by `write(path, input name, spec)`."""
    transforms = Transforms.fit(schema, columns)
    ((given, spec),) = transforms.input_specs.items()
    write(folder / "m.onnx", given, spec)
    write_bundle(
        folder / "bundle",
        name=name,
        run=run,
        trial="trial-1",
        schema=schema,
        transforms=transforms,
        model=folder / "m.onnx",
        runtime="onnx",
        parity=PROOF,
        sample=sample_rows(columns),
        versions={},
    )
    return folder / "bundle"


def write_onnx(path: Path, name: str, shape: tuple[int, ...], units: int, last: str, seed: int = 0) -> None:
    """A network flatten-dense-relu-dense with `last` on top: Softmax, Sigmoid or Identity."""
    random = np.random.default_rng(seed)
    width = int(np.prod(shape))
    first = random.normal(size=(width, 16)).astype(np.float32)
    second = random.normal(size=(16, units)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", [name], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["logits"]),
        helper.make_node(last, ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", units])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def write_images(
    folder: Path,
    seed: int = 0,
    name: str = "digits",
    last: str = "Softmax",
    *,
    probes: bool = False,
    chain: Callable[[Path], Chain] | None = None,
) -> Path:
    """Write a bundle of 8x8 images and ten classes into a folder, with probes if asked for, and the model's chain."""
    random = np.random.default_rng(7)
    columns: Columns = {
        "image": random.integers(0, 17, (50, 8, 8)).astype(np.uint8),
        "label": random.integers(0, 10, 50),
    }
    schema = Schema(
        inputs=(Field(name="image", kind="image", dtype="uint8", shape=(8, 8)),),
        target=Target(names=("label",), task="classification", classes=tuple(range(10))),
    )
    transforms = Transforms.fit(schema, columns)
    folder.parent.mkdir(parents=True, exist_ok=True)
    model = folder.parent / f"{folder.name}.onnx"
    write_onnx(model, "image", transforms.input_specs["image"].shape, 10, last, seed)
    write_bundle(
        folder,
        name=name,
        run="run-1",
        trial="trial-1",
        schema=schema,
        transforms=transforms,
        model=model,
        runtime="onnx",
        parity=PROOF,
        sample=sample_rows({"image": columns["image"]}),
        versions={"onnx": onnx.__version__},
        probes=_write_probes(model, seed, transforms, columns["image"]) if probes else None,
        chain=None if chain is None else chain(model),
    )
    return folder


def _write_probes(model: Path, seed: int, transforms: Transforms, rows: Any) -> Path:
    """Rows, and what the network answers by ONNX's own reference implementation, which no endpoint runs."""
    (given,) = transforms.apply({"image": rows}).values()
    inner = model.with_suffix(".inner.onnx")
    write_onnx(inner, "image", given.shape[1:], 10, "Identity", seed)
    answers, before = (
        ReferenceEvaluator(str(path)).run(None, {"image": given})[0] for path in (model, inner)
    )
    kinds = ["held-out"] * 30 + ["mixed"] * 15 + ["extreme"] * (len(rows) - 45)
    path = model.with_suffix(".npz")
    save_probes(path, Probes({"image": rows}, kinds, answers, before, float(np.abs(answers).max())))
    return path


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Path]:
    """Returns `write_images`."""
    return write_images


@pytest.fixture(scope="session")
def images(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 8x8 images, ten classes."""
    return make_bundle(tmp_path_factory.mktemp("images") / "bundle")


@pytest.fixture(scope="session")
def proved(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with probes."""
    return make_bundle(tmp_path_factory.mktemp("proved") / "bundle", probes=True)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a number, a whole number and a category; two classes from one sigmoid."""
    folder = tmp_path_factory.mktemp("mixed")
    columns: Columns = {
        "age": np.array([20.0, 30.0, 40.0, 50.0]),
        "rooms": np.array([1, 2, 3, 4]),
        "city": np.array(["Oslo", "Rome", "Oslo", None], object),
    }
    schema = Schema(
        inputs=(
            Field(name="age", kind="numeric", dtype="float64"),
            Field(name="rooms", kind="numeric", dtype="int64"),
            Field(name="city", kind="categorical", dtype="str"),
        ),
        target=Target(names=("sold",), task="classification", classes=("no", "yes")),
    )

    def write(path: Path, name: str, spec: Any) -> None:
        write_onnx(path, name, spec.shape, 1, "Sigmoid")

    return package(folder, schema, columns, write, name="homes", run="run-2")


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Returns a function with the arguments of `server_argv` that starts a server and waits for it."""
    running: list[Server] = []

    def begin(
        bundle: Path,
        name: str,
        release: int,
        control: Path,
        port: int | None = None,
        processes: int | None = None,
    ) -> Server:
        process = Server(server_argv(bundle, name, release, control, port, processes=processes))
        running.append(process)
        wait_ready(control, 60, lambda: process.poll() is None)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait(10)


@dataclass(frozen=True)
class Running:
    """A server process and its public port."""

    process: Server
    port: int

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Returns a function that starts a server of a bundle with more arguments, its stderr in a file if given."""
    running: list[Server] = []

    def begin(bundle: Path, *more: str, log: Path | None = None, name: str = "digits") -> Running:
        port = _free_port()
        control = tmp_path_factory.mktemp("serve") / "control"
        argv = [*server_argv(bundle, name, 3, control, port), *more]
        with (log or Path(os.devnull)).open("wb") as errors:
            running.append(Server(argv, (1, errors.fileno() if log else 2)))
        wait_ready(control, 60, lambda: running[-1].poll() is None)
        return Running(running[-1], port)

    yield begin
    for process in running:
        process.kill()
        process.wait(10)


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    return _free_port()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Returns a function that runs Python with our packages importable and captures what it says."""

    def run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        return subprocess.run(
            [sys.executable, *argv], env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    return run
