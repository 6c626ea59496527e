"""Bundles of every model family on every runtime, each with rows and the offline bundle's answers.

`python -m tests.conformance.families FOLDER`, in a process of its own: it imports TensorFlow.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from models.build import build_model
from models.columns import Columns
from models.export import export_onnx
from models.outputs import Outputs
from models.predict import predict
from models.schema import Field, Schema, Target
from models.transforms import Transforms
from serving.bundle import write_bundle
from serving.predictor import Predictor, probabilities, sample_rows
from serving.proof import Parity

ROWS = 64
FAMILIES = ("linear", "mlp", "cnn", "text")
RUNTIMES = ("onnx", "tensorflow")
WORDS = np.array(["a", "river", "runs", "through", "the", "quiet", "town", "æøå", "水"])


def case(family: str) -> tuple[dict[str, Any], Schema, Columns, Outputs]:
    """A model, its schema, raw rows, and what it answers: each family another kind of input and target."""
    random = np.random.default_rng(5)

    def field(name: str, kind: str, dtype: str, shape: tuple[int, ...] = ()) -> Field:
        return Field.model_validate({"name": name, "kind": kind, "dtype": dtype, "shape": shape})

    if family == "linear":
        columns: Columns = {
            "age": random.normal(40, 9, ROWS),
            "rooms": random.integers(1, 9, ROWS),
            "city": random.choice(np.array(["Oslo", "Rome", "Bergen"], object), ROWS),
        }
        kinds = [("age", "numeric", "float64"), ("rooms", "numeric", "int64"), ("city", "categorical", "str")]
        schema = Schema(
            inputs=tuple(field(*kind) for kind in kinds), target=Target(names=("price",), task="regression")
        )
        return {"family": "linear"}, schema, columns, Outputs(1, "linear")
    if family == "mlp":
        columns = {"series": random.normal(size=(ROWS, 4, 3)).astype(np.float32)}
        target = Target(names=("kind",), task="classification", classes=("calm", "storm", "wind"))
        schema = Schema(inputs=(field("series", "numeric", "float32", (4, 3)),), target=target)
        return {"family": "mlp", "hidden": [9]}, schema, columns, Outputs(3, "softmax")
    if family == "cnn":
        columns = {"image": random.integers(0, 256, (ROWS, 8, 8)).astype(np.uint8)}
        target = Target(names=("digit",), task="classification", classes=tuple(range(10)))
        schema = Schema(inputs=(field("image", "image", "uint8", (8, 8)),), target=target)
        return {"family": "cnn", "filters": [4, 4], "dense": [8]}, schema, columns, Outputs(10, "softmax")
    texts = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(ROWS)]
    columns = {"review": np.array(texts, object)}
    target = Target(names=("good",), task="classification", classes=(False, True))
    schema = Schema(inputs=(field("review", "text", "str"),), target=target)
    return {"family": "text", "embedding": 8}, schema, columns, Outputs(1, "sigmoid")


def build(family: str, folder: Path) -> None:
    """Write `folder/FAMILY-RUNTIME` for each runtime, and rows and answers beside it."""
    model, schema, columns, outputs = case(family)
    transforms = Transforms.fit(schema, columns)
    network = build_model(model, transforms.input_specs, outputs, 3)
    network.save(folder / f"{family}.keras")

    def trained(columns: Columns) -> np.ndarray:
        raw = predict(network, transforms.apply(columns))
        return probabilities(raw) if schema.target.task == "classification" else raw

    export_onnx(network, folder / f"{family}.onnx")
    names = [entry.name for entry in schema.inputs]
    rows = sample_rows({name: columns[name] for name in names}, ROWS)
    (folder / f"{family}.json").write_text(json.dumps(rows))
    for runtime in RUNTIMES:
        bundle = folder / f"{family}-{runtime}"
        write_bundle(
            bundle,
            name=family,
            run="run",
            trial="trial",
            schema=schema,
            transforms=transforms,
            model=folder / f"{family}.{'onnx' if runtime == 'onnx' else 'keras'}",
            runtime="onnx" if runtime == "onnx" else "tensorflow",
            parity=Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
            sample=rows[:3],
            versions={},
        )
        # TensorFlow's own bundle cannot be loaded where TensorFlow trained: there the network itself answers.
        offline = Predictor.of(bundle).predict_columns if runtime == "onnx" else trained
        np.save(folder / f"{family}-{runtime}.npy", offline(columns))


if __name__ == "__main__":
    for name in FAMILIES:
        build(name, Path(sys.argv[1]))
