"""Bundles of every model family and of a user's own model, on every runtime, with rows and the bundle's own answers.

A family that this module does not know yet gets series of numbers, as the mlp, the recurrent ones and wavenet.

`python -m tests.conformance.families FOLDER`, in a process of its own: it imports TensorFlow.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.bundles import RUNTIMES
from tidegate.models.data.columns import Columns
from tidegate.models.data.item_lists import items_text
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families import FAMILIES
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.user_code.code_folder import FILES, CodeFolder, write_code
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Batching, Parity
from tidegate.serving.inference.predictor import Predictor, sample_rows

ROWS = 64
# They answer texts or boxes, see `texts.py` and `boxes.py`; forecasts, scores or masks, see tests/serving/contract and
# tests/pipelines/walks.
OTHERS = ("char_lm", "gpt", "seq2seq", "ssd", "tide", "autoencoder", "unet")
CASES = (*(name for name in FAMILIES if name not in OTHERS), "user", "lists")
USER = Path(__file__).with_name("user_model.py")
BATCHED = Batching(rows=48, speeds={1: 1.0, 48: 48.0})  # whether it pays or not
WORDS = np.array(["a", "river", "runs", "through", "the", "quiet", "town", "æøå", "水"])


Case = tuple[dict[str, Any], Schema, Columns, Outputs]


def case(family: str) -> Case:
    """A model, its schema, raw rows, and what it answers: each family another kind of input and target."""
    random = np.random.default_rng(5)
    known = {
        "linear": _regression,
        "cnn": lambda random: _images(random, family="cnn", filters=[4, 4], dense=[8]),
        "inception": lambda random: _images(random, family="inception", stem=4, stages=[[8], [8]], dropout=0),
        "text": lambda random: _texts(random, family="text", embedding=8),
        "transformer": lambda random: _texts(
            random, family="transformer", width=16, feed_forward=16, layers=2, heads=2
        ),
        "lstm": _steps,
        "user": _own,
        "lists": _lists,
    }
    return known.get(family, lambda random: _series(random, family))(random)


def _field(name: str, kind: str, dtype: str, shape: tuple[int, ...] = ()) -> Field:
    return Field.model_validate({"name": name, "kind": kind, "dtype": dtype, "shape": shape})


def _regression(random: np.random.Generator) -> Case:
    columns: Columns = {
        "age": random.normal(40, 9, ROWS),
        "rooms": random.integers(1, 9, ROWS),
        "city": random.choice(np.array(["Oslo", "Rome", "Bergen"], object), ROWS),
    }
    kinds = [("age", "numeric", "float64"), ("rooms", "numeric", "int64"), ("city", "categorical", "str")]
    inputs = tuple(_field(*kind) for kind in kinds)
    target = Target(names=("price",), task="regression")
    return {"family": "linear"}, Schema(inputs=inputs, target=target), columns, Outputs(1, "linear")


def _own(random: np.random.Generator) -> Case:
    _, schema, columns, _ = _regression(random)
    target = Target(names=("price", "tax"), task="regression")
    return (
        {"file": str(USER), "width": 5},
        Schema(inputs=schema.inputs, target=target),
        columns,
        Outputs(2, "linear"),
    )


def _lists(random: np.random.Generator) -> Case:
    """Bags of ids, a list of tokens and a hashed id beside a number."""
    sizes = random.integers(0, 5, ROWS)
    bags = [items_text(random.choice(WORDS, size).tolist()) for size in sizes]
    sentences = [items_text([*random.choice(WORDS, 1 + size).tolist(), int(size)]) for size in sizes]
    columns: Columns = {
        "age": random.normal(40, 9, ROWS),
        "tags": np.array(bags, object),
        "words": np.array(sentences, object),
        "user": np.array([f"u{number}" for number in range(ROWS)], object),
    }
    plain = (
        _field("age", "numeric", "float64"),
        _field("tags", "ids", "str"),
        _field("words", "tokens", "str"),
    )
    user = _field("user", "id", "str").model_copy(update={"hashed": 11})
    target = Target(names=("kind",), task="classification", classes=("calm", "storm", "wind"))
    schema = Schema(inputs=(*plain, user), target=target)
    return {"family": "text", "embedding": 4}, schema, columns, Outputs(3, "softmax")


def _series(random: np.random.Generator, family: str) -> Case:
    columns: Columns = {"series": random.normal(size=(ROWS, 4, 3)).astype(np.float32)}
    target = Target(names=("kind",), task="classification", classes=("calm", "storm", "wind"))
    schema = Schema(inputs=(_field("series", "numeric", "float32", (4, 3)),), target=target)
    return {"family": family}, schema, columns, Outputs(3, "softmax")


def _steps(random: np.random.Generator) -> Case:
    model, schema, columns, outputs = _series(random, "lstm")
    return model | {"units": [6, 5], "dense": [4]}, schema, columns, outputs


def _images(random: np.random.Generator, **model: Any) -> Case:
    columns: Columns = {"image": random.integers(0, 256, (ROWS, 8, 8)).astype(np.uint8)}
    target = Target(names=("digit",), task="classification", classes=tuple(range(10)))
    schema = Schema(inputs=(_field("image", "image", "uint8", (8, 8)),), target=target)
    return model, schema, columns, Outputs(10, "softmax")


def _texts(random: np.random.Generator, **model: Any) -> Case:
    texts = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(ROWS)]
    target = Target(names=("good",), task="classification", classes=(False, True))
    schema = Schema(inputs=(_field("review", "text", "str"),), target=target)
    columns: Columns = {"review": np.array(texts, object)}
    return model, schema, columns, Outputs(1, "sigmoid")


def _project(folder: Path) -> Path:
    """The model file as a project's part, as a step lays it out."""
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(USER, folder / FILES / USER.name)
    return write_code(folder, CodeFolder(model=USER.name))


def build(family: str, folder: Path) -> None:
    """Write `folder/FAMILY-RUNTIME` for each runtime, and rows and answers beside it."""
    model, schema, columns, outputs = case(family)
    transforms = Transforms.fit(schema, columns)
    network = build_model(model, transforms.input_specs, outputs, 3)
    network.save(folder / f"{family}.keras")

    def trained(columns: Columns) -> np.ndarray:
        raw = predict(network, transforms.apply(columns))
        return as_answers(schema.target, raw)

    export_onnx(network, folder / f"{family}.onnx")
    names = [entry.name for entry in schema.inputs]
    rows = sample_rows({name: columns[name] for name in names}, ROWS)
    (folder / f"{family}.json").write_text(json.dumps(rows))
    files = {"onnx": folder / f"{family}.onnx", "tensorflow": folder / f"{family}.keras"}
    for runtime in RUNTIMES:
        for name, batching in ((f"{family}-{runtime}", None), (f"{family}-{runtime}-batched", BATCHED)):
            write_bundle(
                folder / name,
                name=family,
                run="run",
                trial="trial",
                schema=schema,
                transforms=transforms,
                model=files[runtime],
                runtime="onnx" if runtime == "onnx" else "tensorflow",
                parity=Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
                sample=rows[:3],
                versions={},
                code=_project(folder / "project") if family == "user" else None,
                batching=batching,
            )
        # TensorFlow's own bundle cannot be loaded where TensorFlow trained: there the network itself answers.
        offline = Predictor.of(folder / f"{family}-onnx").predict_columns if runtime == "onnx" else trained
        np.save(folder / f"{family}-{runtime}.npy", offline(columns))


if __name__ == "__main__":
    for name in CASES:
        build(name, Path(sys.argv[1]))
