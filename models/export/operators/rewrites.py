"""Operators of TensorFlow that ONNX does not have, rewritten as some that it has; in loops and branches too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SIGN = np.iinfo(np.int32).min  # the bit of float32 that is its sign
CONSTANTS = {
    "rewrite_one": np.float32(1),
    "rewrite_two": np.float32(2),
    "rewrite_half": np.float32(0.5),
    "rewrite_zero": np.float32(0),
    "rewrite_sign": np.int32(SIGN),
    "rewrite_no_sign": np.int32(0),
}


def rewrite(proto: Any) -> None:
    """Rewrite every operator in REWRITES, in place."""
    import onnx

    kinds = {node.op_type for graph in graphs_of(proto.graph) for node in graph.node}
    if not kinds & set(REWRITES):
        return
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    graphs = list(graphs_of(proto.graph))
    for graph in graphs:
        nodes = [part for node in graph.node for part in _rewritten(node, graph, constants)]
        del graph.node[:]
        graph.node.extend(nodes)
    used = {name for graph in graphs for node in graph.node for name in node.input}
    for name in sorted(used & set(CONSTANTS)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(CONSTANTS[name]), name))


def graphs_of(graph: Any) -> Iterator[Any]:
    """A graph, and those in its nodes."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from graphs_of(inner)
    yield graph


def _rewritten(node: Any, graph: Any, constants: dict[str, Any]) -> list[Any]:
    how = REWRITES.get(node.op_type)
    if how is None or (how is _bitcast and not _only_its_sign(node, graph, constants)):
        return [node]
    return how(node)


def _made(node: Any, *steps: tuple[str, list[str]]) -> list[Any]:
    """Nodes, of which each may read the results of those before it as "0", "1", …; the last one gives the node's."""
    import onnx

    (result,) = node.output
    names = [f"{result}_{place}" for place in range(len(steps) - 1)] + [result]
    return [
        onnx.helper.make_node(
            kind,
            [names[int(one)] if one.isdigit() else one for one in given],
            [name],
            name=f"{node.name}_{place}",
        )
        for place, ((kind, given), name) in enumerate(zip(steps, names, strict=True))
    ]


def _erfc(node: Any) -> list[Any]:
    """erfc(x) = 1 - erf(x) (Abramowitz and Stegun, 7.1.2); exact GELU uses it."""
    return _made(node, ("Erf", [*node.input]), ("Sub", ["rewrite_one", "0"]))


def _expm1(node: Any) -> list[Any]:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), which loses no digits near 0; CELU uses it."""
    (x,) = node.input
    return _made(
        node,
        ("Mul", [x, "rewrite_half"]),
        ("Tanh", ["0"]),
        ("Exp", [x]),
        ("Add", ["2", "rewrite_one"]),
        ("Mul", ["1", "3"]),
    )


def _log1p(node: Any) -> list[Any]:
    """log(1 + x), near 0 as 2 artanh(x / (2 + x)), which loses no digits there (Abramowitz and Stegun, 4.6.22)."""
    (x,) = node.input
    return _made(
        node,
        ("Add", [x, "rewrite_two"]),
        ("Div", [x, "0"]),
        ("Atanh", ["1"]),
        ("Mul", ["2", "rewrite_two"]),
        ("Add", [x, "rewrite_one"]),
        ("Log", ["4"]),
        ("Abs", [x]),
        ("Less", ["6", "rewrite_half"]),
        ("Where", ["7", "3", "5"]),
    )


def _bitcast(node: Any) -> list[Any]:
    """The sign bit of float32 as int32: 1 / x is negative, also for -0. Keras' argmax and argmin use it."""
    return _made(
        node,
        ("Reciprocal", [*node.input]),
        ("Less", ["0", "rewrite_zero"]),
        ("Where", ["1", "rewrite_sign", "rewrite_no_sign"]),
    )


def _only_its_sign(node: Any, graph: Any, constants: dict[str, Any]) -> bool:
    """Whether only the sign bit of a Bitcast's result is read."""
    users = [user for user in graph.node if node.output[0] in user.input]
    others = [name for user in users for name in user.input if name != node.output[0]]
    signs = all(name in constants and (constants[name] == SIGN).all() for name in others)
    return bool(users) and signs and all(user.op_type == "BitwiseAnd" for user in users)


def _conv_transpose(node: Any) -> list[Any]:
    """What stands behind the last step of a transposed convolution is padding: ONNX has it as `output_padding`."""
    import onnx

    pads: Any = next((attribute.ints for attribute in node.attribute if attribute.name == "pads"), [])
    half = len(pads) // 2
    behind = [max(0, -(before + after)) for before, after in zip(pads[:half], pads[half:], strict=True)]
    if not any(behind):
        return [node]
    for place, more in enumerate(behind):
        if more:
            pads[place] = pads[place + half] = 0
    node.attribute.append(onnx.helper.make_attribute("output_padding", behind))
    return [node]


REWRITES: dict[str, Callable[[Any], list[Any]]] = {
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Log1p": _log1p,
    "Bitcast": _bitcast,
    "ConvTranspose": _conv_transpose,
}
