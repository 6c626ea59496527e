"""A file that was exported wrong is noticed where held-out rows hide it, and the layer is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import pytest

from tests.bench.mutants import mutants
from tidegate.models.data.columns import take
from tidegate.models.export.layer_differences import first_difference
from tidegate.models.export.onnx import export_onnx
from tidegate.models.export.operators.resizing import HANDLERS
from tidegate.models.networks.heads.last_activation import predict_before
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import KerasAnswers, Probes, make_probes
from tidegate.serving.bundle.measurements import Probed
from tidegate.serving.contract.contract import Contract
from tidegate.serving.inference.parity import measure
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.inference.probing import measure_probes
from tidegate.serving.runtimes import load_before, load_model

ROWS, SIZE = 40, (12, 10)
SURE = 2.0  # the last layer's weights are multiplied by it
SCHEMA = Schema(
    inputs=(Field(name="image", kind="image", dtype="uint8", shape=SIZE),),
    target=Target(names=("label",), task="classification", classes=("dark", "light")),
)


class Exported(NamedTuple):
    """A network that is sure of every held-out row, its file, and what proves it."""

    model: Any
    path: Path
    transforms: Transforms
    images: np.ndarray
    probes: Probes


def _network(x: Any, *, area: bool) -> Any:
    y = keras.layers.Resizing(6, 5, interpolation="area", name="smaller")(x) if area else x
    y = keras.layers.Flatten()(y)
    y = keras.layers.Dense(8, activation="relu", name="hidden")(y)
    return keras.layers.Dense(2, activation="softmax", name="output")(y)


def _exported(folder: Path, *, area: bool) -> Exported:
    random = np.random.default_rng(1)
    light = np.repeat([25, 230], ROWS // 2)[:, None, None]
    images = (light + random.integers(-20, 20, (ROWS, *SIZE))).astype(np.uint8)
    keras.utils.set_random_seed(0)
    x: Any = keras.Input((*SIZE, 1), name="image")
    model = keras.Model({"image": x}, _network(x, area=area))
    transforms = Transforms.fit(SCHEMA, {"image": images})
    layer = model.get_layer("hidden")
    layer.set_weights([np.abs(weight) for weight in layer.get_weights()])  # so that light is what it sees
    hidden = keras.Model({"image": x}, model.get_layer("hidden").output)
    means = predict(hidden, transforms.apply({"image": images})).reshape(2, -1, 8).mean(axis=1)
    kernel = np.stack([-(means[1] - means[0]), means[1] - means[0]], axis=1)
    bias = -(means.mean(axis=0) @ kernel)
    model.get_layer("output").set_weights([SURE * kernel, SURE * bias])
    export_onnx(model, folder / "model.onnx")
    probes = make_probes(KerasAnswers(model), SCHEMA, transforms, {"image": images})
    assert probes is not None
    return Exported(model, folder / "model.onnx", transforms, images, probes)


def _predictor(case: Exported, path: Path) -> Predictor:
    return Predictor(Contract.of(SCHEMA, {}), case.transforms, load_model("onnx", path, threads=1))


def _probed(case: Exported, path: Path) -> Probed:
    return measure_probes(_predictor(case, path), load_before("onnx", path, threads=1), case.probes)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A network that is exported as it is."""
    return _exported(tmp_path_factory.mktemp("right"), area=False)


def test_a_saturated_network_with_a_wrong_layer_is_noticed_and_the_layer_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, "ResizeArea")  # the converter makes the nearest pixel of it, without a word
    case = _exported(tmp_path, area=True)
    reference = predict(case.model, case.transforms.apply({"image": case.images}))
    held_out = measure(_predictor(case, case.path), {"image": case.images}, reference)
    assert held_out.passed and held_out.max_abs_difference < 1e-6
    found = _probed(case, case.path)
    assert not found.passed and found.max_abs_difference > 0.1
    assert f"{found.different} of {found.rows} probes differ, answers up to" in found.summary
    clause = first_difference(
        case.model, case.path, case.transforms.apply(take(case.probes.columns, np.arange(8)))
    )
    assert clause.startswith("the first layer that differs is 'smaller' (Resizing), by ")


def test_a_right_file_passes_and_no_layer_is_named(right: Exported) -> None:
    found = _probed(right, right.path)
    assert found.passed and found.share < 0.1
    assert found.summary.startswith("within ")
    assert (
        first_difference(
            right.model, right.path, right.transforms.apply(take(right.probes.columns, np.arange(8)))
        )
        == ""
    )


def test_a_changed_weight_or_attribute_is_noticed(right: Exported, tmp_path: Path) -> None:
    path = tmp_path / "mutant.onnx"
    seen = []
    for mutant in mutants(right.path.read_bytes(), 8, np.random.default_rng(2)):
        path.write_bytes(mutant.content)
        try:
            seen.append((mutant.what, not _probed(right, path).passed))
        except Exception as error:  # ONNX Runtime refuses the file
            seen.append((mutant.what, bool(str(error))))
    # A shape of (0, 120) is that of (-1, 120): the rows' own number.
    assert [what for what, noticed in seen if not noticed and "Reshape_shape" not in what] == []


def test_what_stands_before_the_last_activation_is_read_from_the_file_and_the_file_stays(
    right: Exported,
) -> None:
    before = right.path.read_bytes()
    run = load_before("onnx", right.path, threads=1)
    assert run is not None and right.path.read_bytes() == before
    inputs = right.transforms.apply({"image": right.images})
    known = predict_before(right.model, inputs)
    assert known is not None
    np.testing.assert_allclose(run(inputs), known, rtol=1e-4, atol=1e-2)
    assert np.abs(known).max() > 20


def test_a_file_that_hides_it_is_compared_by_logarithms(right: Exported, tmp_path: Path) -> None:
    proto = onnx.load_model(str(right.path))
    (last,) = (node for node in proto.graph.node if node.op_type == "Softmax")
    last.op_type = "LogSoftmax"
    end = proto.graph.output[0].name
    for node in proto.graph.node:
        node.output[:] = ["logs" if name == end else name for name in node.output]
    proto.graph.node.append(onnx.helper.make_node("Exp", ["logs"], [end]))
    onnx.save(proto, tmp_path / "logs.onnx")
    assert load_before("onnx", tmp_path / "logs.onnx", threads=1) is None
    assert _probed(right, tmp_path / "logs.onnx").passed
    weight = next(tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(proto, tmp_path / "logs.onnx")
    assert not _probed(right, tmp_path / "logs.onnx").passed


def test_rows_that_the_trained_model_does_not_take_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    schema = Schema(
        inputs=(Field(name="ratio", kind="numeric", dtype="float64"),),
        target=Target(names=("y",), task="regression"),
    )
    columns = {"ratio": np.random.default_rng(0).uniform(size=30)}
    x: Any = keras.Input((1,), name="features")
    model = keras.Model({"features": x}, keras.layers.Dense(1)(x))
    answer = model.call

    def call(inputs: Any, *others: Any, **more: Any) -> Any:
        if np.abs(np.asarray(inputs["features"])).max() > 4:
            raise ValueError("\x1b[1mtoo large\x1b[0m")
        return answer(inputs, *others, **more)

    model.call = call
    probes = make_probes(KerasAnswers(model), schema, Transforms.fit(schema, columns), columns)
    assert probes is not None and set(probes.kinds) == {"held-out", "mixed", "near"}
    said = capsys.readouterr().out
    assert said.startswith("no extreme probes, because the model does not take them: ") and "\x1b" not in said


LASTS: dict[str, Any] = {
    "a dense layer": keras.layers.Dense(2, activation="softmax"),
    "a layer of its own": lambda x: keras.layers.Softmax()(keras.layers.Dense(2)(x)),
    "an activation layer": lambda x: keras.layers.Activation("sigmoid")(keras.layers.Dense(1)(x)),
    "an operation": lambda x: keras.ops.softmax(keras.layers.Dense(2)(x)),
    "a nested model": keras.Sequential([keras.layers.Dense(1, activation="sigmoid")]),
}


@pytest.mark.parametrize("last", [*LASTS, "none"])
def test_the_last_activation_is_left_out_wherever_it_is_made(last: str) -> None:
    x: Any = keras.Input((3,), name="x")
    model = keras.Model({"x": x}, LASTS.get(last, keras.layers.Dense(1))(x))
    rows = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    answers, before = predict(model, rows), predict_before(model, rows)
    if last == "none":
        assert before is None
        return
    assert before is not None
    again = keras.ops.softmax(before) if before.shape[1] > 1 else keras.ops.sigmoid(before)
    np.testing.assert_allclose(np.asarray(again), answers, rtol=1e-5)
    np.testing.assert_array_equal(predict(model, rows), answers)  # and is back afterwards
