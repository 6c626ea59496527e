"""A trained ONNX file of any framework: its inputs, its classes, and the one output that is served.

The file itself is served. Only what is no prediction is left out: the labels beside a classifier's probabilities, and
the ZipMap that scikit-learn's converter puts behind them; logits get the activation that makes them probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.models.errors import UserModelError
from tidegate.models.preprocessing.raw_inputs import ModelInput
from tidegate.models.preprocessing.schema import Class

FLOATS = ("float32", "float64", "float16")
LABELS = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


@dataclass
class OnnxModel:
    """A parsed file.

    Attributes:
        proto: the model, as it is served.
        inputs: what it takes.
        classes: what it says of its classes; () if nothing.
        changed: what was left out or added, one sentence each; the file is as it was where there is none.
    """

    proto: Any
    inputs: list[ModelInput]
    classes: tuple[Class, ...] = ()
    changed: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write what is served."""
        path.write_bytes(self.proto.SerializeToString())


def read_onnx(path: Path) -> OnnxModel:
    """Read a file that `serving.untrusted` has checked.

    Raises:
        UserModelError: its inputs or outputs cannot be served; the message says why, and what to do.
    """
    import onnx

    proto = onnx.load_model(str(path), load_external_data=False)
    constants = {tensor.name for tensor in proto.graph.initializer}
    given = [one for one in proto.graph.input if one.name not in constants]
    model = OnnxModel(proto, [_input(one, path) for one in given], _classes(proto))
    _drop_zip_map(model)
    _keep_one_output(model, path)
    return model


def add_activation(model: OnnxModel, activation: str) -> None:
    """Put a softmax or sigmoid behind logits."""
    import onnx

    graph = model.proto.graph
    logits, name = graph.output[0], "probabilities"
    operator = {"softmax": "Softmax", "sigmoid": "Sigmoid"}[activation]
    options = {"axis": -1} if activation == "softmax" else {}
    graph.node.append(onnx.helper.make_node(operator, [logits.name], [name], name=name, **options))
    answer = onnx.ValueInfoProto()
    answer.CopyFrom(logits)
    answer.name = name
    _set_outputs(graph, answer)
    model.changed.append(f"a {activation} was put behind its logits, as from_logits says")


def _input(one: Any, path: Path) -> ModelInput:
    sizes = [dim.dim_value or None for dim in one.type.tensor_type.shape.dim]
    if not sizes or sizes[0] is not None:
        raise UserModelError(
            f"{path.name}: the input {one.name!r} has {f'{sizes[0]} rows' if sizes else 'no rows'}; expected any "
            "number of them; export it with a dynamic first axis (PyTorch: dynamic_axes or dynamic_shapes)"
        )
    return ModelInput(one.name, tuple(sizes[1:]), _dtype(one))


def _dtype(one: Any) -> str:
    import onnx

    kind = one.type.tensor_type.elem_type
    if kind == onnx.TensorProto.STRING:
        return "str"
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else ""


def _classes(proto: Any) -> tuple[Class, ...]:
    """The labels that an operator of a classifier has."""
    for node in reversed(proto.graph.node):
        for attribute in node.attribute:
            if attribute.name in LABELS and (attribute.ints or attribute.strings):
                return tuple(attribute.ints) or tuple(text.decode() for text in attribute.strings)
    return ()


def _drop_zip_map(model: OnnxModel) -> None:
    """Answer the probabilities before a ZipMap, which makes a dictionary of each row."""
    import onnx

    graph = model.proto.graph
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        place = next((place for place, one in enumerate(graph.output) if one.name == node.output[0]), None)
        if place is None:
            continue
        graph.node.remove(node)
        sizes = ["rows", None]
        graph.output[place].CopyFrom(
            onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, sizes)
        )
        model.changed.append("the ZipMap behind its probabilities was left out")


def _keep_one_output(model: OnnxModel, path: Path) -> None:
    graph = model.proto.graph
    numbers = [one for one in graph.output if _dtype(one) in FLOATS]
    if len(numbers) != 1:
        listed = ", ".join(f"{one.name} ({_dtype(one) or 'no tensor'})" for one in graph.output)
        raise UserModelError(
            f"{path.name} has the outputs {listed}; expected one of floating point numbers; export the model with "
            "only the one to serve"
        )
    left = [one.name for one in graph.output if one.name != numbers[0].name]
    _set_outputs(graph, numbers[0])
    if left:
        model.changed.append(f"the output {', '.join(left)} was left out")


def _set_outputs(graph: Any, answer: Any) -> None:
    import onnx

    kept = onnx.ValueInfoProto()
    kept.CopyFrom(answer)
    del graph.output[:]
    graph.output.append(kept)
