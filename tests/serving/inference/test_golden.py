"""Golden rows: a bundle that answers otherwise than the trained model did is never served, whatever was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tidegate.models.data.columns import Array, Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import Probes, load_probes
from tidegate.serving.bundle.bundle import MANIFEST, open_bundle
from tidegate.serving.bundle.bundle_files import FileEntry
from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import ProofError
from tidegate.serving.inference.golden import Golden, golden_rows, prove_in_new_process
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import load_model


def golden_of(folder: Path) -> Golden:
    bundle = open_bundle(folder)
    found = Golden.of(bundle, Predictor.of(bundle))
    assert found is not None
    return found


def changed(bundle: Path, folder: Path, name: str, change: Callable[[Path], None]) -> Path:
    """A copy whose file was changed by somebody who wrote its digest anew."""
    shutil.copytree(bundle, folder)
    for path in (folder / name, folder / MANIFEST):
        path.chmod(0o644)
    change(folder / name)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = FileEntry.of(folder / name).model_dump()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def flip_a_bit(path: Path) -> None:
    """One bit of one weight, the lowest of its exponent: it is halved or doubled."""
    model = onnx.load(path)
    tensor = next(known for known in model.graph.initializer if known.name == "second")
    values = numpy_helper.to_array(tensor).copy()
    bits = values.view(np.uint32)
    bits[np.unravel_index(np.abs(values).argmax(), values.shape)] ^= 1 << 23
    tensor.CopyFrom(numpy_helper.from_array(values, "second"))
    onnx.save(model, path)


def scale_otherwise(path: Path) -> None:
    """Preprocessing edited by hand."""
    document = json.loads(path.read_text())
    document["inputs"][0]["content"]["divisor"] *= 1.01
    path.write_text(json.dumps(document))


def test_a_few_of_each_kind(proved: Path) -> None:
    probes = load_probes(proved / "probes.npz")
    few = [probes.kinds[place] for place in golden_rows(probes)]
    assert len(few) == 25  # ten of two kinds, and the five that there are of the third
    assert {kind: few.count(kind) for kind in few} == {"held-out": 10, "mixed": 10, "extreme": 5}
    assert [probes.kinds[place] for place in golden_rows(probes, 3)] == ["held-out", "mixed", "extreme"]
    assert [probes.kinds[place] for place in golden_rows(probes, 1)] == ["held-out"]


def sure(folder: Path, last: str, units: int) -> Golden:
    """Of a network that is sure of each answer: what stands before its last layer goes up to 40."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(last, ["z"], ["output"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", units])],
        [numpy_helper.from_array(np.linspace(-1, 1, units, dtype=np.float32)[None, :], "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / f"{last}.onnx"
    onnx.save(model, path)
    columns: Columns = {"x": np.linspace(-40, 40, 81), "y": np.arange(81) % units}
    schema = Schema(
        inputs=(Field(name="x", kind="numeric", dtype="float64", scale="none"),),
        target=Target(names=("y",), task="classification", classes=tuple(range(units))),
    )
    transforms = Transforms.fit(schema, columns)
    ((name, given),) = transforms.apply({"x": columns["x"]}).items()
    before = (given.astype(np.float64) @ np.linspace(-1, 1, units)[None, :]).astype(np.float32)
    exact = np.exp(before.astype(np.float64))
    answers = exact / (1 + exact) if last == "Sigmoid" else exact / exact.sum(axis=1, keepdims=True)
    probes = Probes({"x": columns["x"]}, ["held-out"] * 81, answers.astype(np.float32), before, 1.0)
    run = load_model("onnx", path)
    return Golden(
        Predictor(
            Contract.of(schema, transforms.categories), transforms, lambda inputs: run({"x": inputs[name]})
        ),
        probes,
    )


@pytest.mark.parametrize(("last", "units"), [("Sigmoid", 3), ("Softmax", 3), ("Softmax", 2)])
def test_a_sure_network_is_no_wrong_one(tmp_path: Path, last: str, units: int) -> None:
    """ONNX Runtime's Sigmoid is 0 where it should be 1e-9; what is compared of it are the answers alone."""
    assert sure(tmp_path, last, units).prove().share < 0.5


def test_a_right_bundle(proved: Path) -> None:
    proof = golden_of(proved).prove()
    assert (proof.passed, proof.rows, proof.different) == (True, 25, 0)
    assert 0 < proof.share < 0.1


def test_an_older_bundle_has_none(images: Path, tmp_path: Path) -> None:
    bundle = open_bundle(images)
    assert Golden.of(bundle, Predictor.of(bundle)) is None
    assert prove_in_new_process(images, tmp_path) is None


@pytest.mark.parametrize(
    ("name", "change"), [("model.onnx", flip_a_bit), ("transforms.json", scale_otherwise)]
)
def test_a_changed_bundle(proved: Path, tmp_path: Path, name: str, change: Callable[[Path], None]) -> None:
    wrong = changed(proved, tmp_path / "wrong", name, change)
    with pytest.raises(ProofError, match=r"of 25 golden rows were answered wrong: row \d+, a .* is .* roll"):
        golden_of(wrong).prove()
    with pytest.raises(ProofError, match="golden rows were answered wrong"):
        prove_in_new_process(wrong, tmp_path)


def test_a_server_of_a_changed_bundle_never_gets_ready(
    proved: Path, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], free_port: int
) -> None:
    wrong = changed(proved, tmp_path / "wrong", "model.onnx", flip_a_bit)
    argv = ["-m", "tidegate.serving.server", "--bundle", str(wrong), "--port", str(free_port)]
    for more in ([], ["--processes", "2"]):
        ended = run_python(*argv, *more)
        assert ended.returncode == 1
        assert "golden rows were answered wrong" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_model_that_raises(proved: Path) -> None:
    bundle = open_bundle(proved)
    predictor = Predictor.of(bundle)
    golden = Golden.of(bundle, predictor)
    assert golden is not None

    def fail(inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        raise MemoryError(f"no memory for {len(inputs)}")

    predictor.run = fail
    with pytest.raises(ProofError, match=r"the golden rows were not answered: .*no memory"):
        golden.prove()
