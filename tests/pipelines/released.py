"""A live release without training: a small random network, its bundle and its place in a home."""

import json
import socket
from typing import Any

from tests.conftest import Cli
from tests.serving.conftest import write_onnx
from tidegate.infra.errors import ConflictError
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.contract.contract import Contract
from tidegate.serving.deployment.release import promote, reserve, update
from tidegate.serving.inference.parity import describe
from tidegate.serving.inference.predictor import Predictor, sample_rows
from tidegate.serving.runtimes import load_model

PROOF = Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1)


def deploy(cli: Cli, name: str, fields: tuple[Field, ...], columns: Columns, target: Target) -> None:
    """A release that answers, without training: a small random network."""
    home = Home(cli.home)
    schema = Schema(inputs=fields, target=target)
    transforms = Transforms.fit(schema, columns)
    ((given, spec),) = transforms.input_specs.items()
    last = "Softmax" if target.classes else "Identity"
    work = home.path / "work" / name
    work.mkdir(parents=True)
    write_onnx(work / "m.onnx", given, spec.shape, len(target.classes) or len(target.names), last)
    run = load_model("onnx", work / "m.onnx")
    predictor = Predictor(Contract.of(schema, transforms.categories), transforms, run)
    (work / "drift.json").write_text(describe(predictor, columns))
    write_bundle(
        work / "bundle",
        name=name,
        run="run-1",
        trial="trial-1",
        schema=schema,
        transforms=transforms,
        model=work / "m.onnx",
        runtime="onnx",
        parity=PROOF,
        sample=sample_rows(columns),
        versions={},
        drift=work / "drift.json",
    )
    digest = keep_bundle(home, work / "bundle")
    with socket.create_server(("127.0.0.1", 0)) as probe:  # far from where other homes look for one
        port = probe.getsockname()[1]
    facts: dict[str, Any] = {
        "run": "run-1",
        "trial": "trial-1",
        "key": "k",
        "bundle": digest,
        "bento": f"{name}:1",
    }
    update(
        home.store,
        name,
        lambda state: reserve(state.model_copy(update={"port": port}), **facts, runtime="onnx", parity=PROOF),
        ConflictError,
    )
    update(home.store, name, lambda state: promote(state, 1), ConflictError)
    cli.ok("predict", name, stdin=json.dumps(sample_rows(columns)))  # the first one starts the server
