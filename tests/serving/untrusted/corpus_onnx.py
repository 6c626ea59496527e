"""ONNX files that nobody should load, each with the words it is refused with; and how a good one is made."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.serving.untrusted.corpus import PICKLE, Make, keras, link, raw


def onnx_model(*nodes: Any, initializers: Any = (), functions: Any = (), attribute: Any = None) -> Make:
    """Returns a function that writes an ONNX model."""
    nodes = nodes or (helper.make_node("Identity", ["x"], ["y"]),)
    if attribute is not None:
        nodes[0].attribute.append(attribute)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, functions=list(functions), ir_version=9)
    return lambda path: path.write_bytes(model.SerializeToString()) and None


def outside(location: str) -> Any:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def _undeclared() -> Any:
    tensor = outside("weights.bin")
    tensor.ClearField("data_location")
    return tensor


def _branch(tensor: Any) -> Any:
    """An If whose branch holds the tensor."""
    answer = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    constant = helper.make_node("Constant", [], ["z"])
    constant.attribute.append(helper.make_attribute("value", tensor))
    graph = helper.make_graph([constant], "then", [], answer)
    return helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)


def _of_function() -> Any:
    body = [helper.make_node("Constant", [], ["z"])]
    body[0].attribute.append(helper.make_attribute("value", outside("../w.bin")))
    return helper.make_function("own", "F", [], ["z"], body, [helper.make_opsetid("", 17)])


SPARSE = onnx.SparseTensorProto(
    values=outside("s.bin"), indices=numpy_helper.from_array(np.zeros(1, np.int64)), dims=[2]
)


ONNX: dict[str, tuple[Make, str]] = {
    "a pickle": (raw(PICKLE), "a Python pickle"),
    "words": (raw(b"not a model"), "not an ONNX model"),
    "an archive": (keras(), "a zip archive"),
    "ort format": (raw(b"\x18\x00\x00\x00ORTM" + bytes(64)), "not an ONNX model"),
    "empty": (raw(b""), "no graph"),
    "a link": (link, "a link or not a file"),
    "beside": (onnx_model(initializers=[outside("weights.bin")]), "another file, 'weights.bin'"),
    "traversal": (onnx_model(initializers=[outside("../../etc/passwd")]), "'../../etc/passwd'"),
    "absolute": (onnx_model(initializers=[outside("/etc/passwd")]), "'/etc/passwd'"),
    "memory": (onnx_model(initializers=[outside("*/_ORT_MEM_ADDR_/*")]), "_ORT_MEM_ADDR_"),
    "not declared": (onnx_model(initializers=[_undeclared()]), "'weights.bin'"),
    "in an attribute": (
        onnx_model(
            helper.make_node("Constant", [], ["y"]), attribute=helper.make_attribute("value", outside("/w"))
        ),
        "'/w'",
    ),
    "in a branch": (onnx_model(_branch(outside("../w"))), "'../w'"),
    "in a function": (onnx_model(functions=[_of_function()]), "'../w.bin'"),
    "sparse": (
        onnx_model(
            helper.make_node("Constant", [], ["y"]), attribute=helper.make_attribute("sparse_value", SPARSE)
        ),
        "'s.bin'",
    ),
    "Python operator": (
        onnx_model(helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")),
        "'ai.onnx.contrib:PyOp'",
    ),
    "context of an engine": (
        onnx_model(
            helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="/x")
        ),
        "'com.microsoft:EPContext'",
    ),
}
