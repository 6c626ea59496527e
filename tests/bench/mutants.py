"""Exported files changed a little, as a wrong converter might: a weight matrix, or an attribute of a node."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

OTHERS = {  # texts of attributes, and what they may be instead
    "forward": "reverse",
    "reverse": "forward",
    "linear": "nearest",
    "nearest": "linear",
    "cubic": "linear",
    "half_pixel": "align_corners",
    "asymmetric": "half_pixel",
    "align_corners": "half_pixel",
    "NOTSET": "SAME_UPPER",
    "SAME_UPPER": "SAME_LOWER",
    "SAME_LOWER": "SAME_UPPER",
    "Tanh": "Sigmoid",
    "Sigmoid": "Tanh",
    "round_prefer_floor": "ceil",
    "floor": "ceil",
}
STRONG = 0.01  # of a matrix' standard deviation


@dataclass(frozen=True)
class Mutant:
    """A changed file, and what was changed, in words."""

    what: str
    content: bytes


def mutants(content: bytes, count: int, random: np.random.Generator) -> Iterator[Mutant]:
    """Yield `count` different mutants of an ONNX file, half of them of weights."""
    proto = onnx.load_model_from_string(content)
    weights = list(_weights(proto.graph))
    attributes = list(_attributes(proto.graph))
    order = [_some(changes, random) for changes in (weights, attributes) if changes]
    seen, turns = {content}, cycle(order)
    while len(seen) <= count:
        copy = onnx.load_model_from_string(content)
        what = next(next(turns))(copy.graph, random)
        changed = copy.SerializeToString()
        if changed not in seen:
            yield Mutant(what, changed)
        seen.add(changed)


Change = Callable[[Any, np.random.Generator], str]


def _some(changes: list[Change], random: np.random.Generator) -> Iterator[Change]:
    while True:  # a weight can be changed in more than one place
        for place in random.permutation(len(changes)):
            yield changes[place]


def _weights(graph: Any) -> Iterator[Change]:
    for place, tensor in enumerate(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if not values.size:
            continue
        if values.dtype.kind == "f":
            ways = ["scaled", "noisy", "one number"] + (
                ["two rows exchanged"] if len(values.shape) and len(values) > 1 else []
            )
        else:
            ways = ["one more"] if values.dtype.kind in "iu" else []
        for way in ways:
            yield lambda graph, random, place=place, way=way: _changed_weight(
                graph.initializer[place], way, random
            )


def _changed_weight(tensor: Any, way: str, random: np.random.Generator) -> str:
    values = onnx.numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(onnx.numpy_helper.from_array(_other(values, way, random), tensor.name))
    return f"{tensor.name} {values.shape}: {way}"


def _other(values: NDArray[Any], way: str, random: np.random.Generator) -> NDArray[Any]:
    spread = STRONG * (float(values.astype(np.float64).std()) or float(np.abs(values).max()) or 1.0)
    if way == "scaled":
        return (values * (1 + STRONG)).astype(values.dtype)
    if way == "noisy":
        return np.asarray(values + random.normal(scale=spread, size=values.shape)).astype(values.dtype)
    if way == "two rows exchanged":
        values[[0, -1]] = values[[-1, 0]]
        return values
    place = np.unravel_index(int(random.integers(0, values.size)), values.shape)
    values[place] += 1 if way == "one more" else 10 * spread
    return values


def _attributes(graph: Any) -> Iterator[Change]:
    for node, attribute in _places(graph):
        yield lambda graph, random, node=node, attribute=attribute: _changed_attribute(
            graph.node[node], graph.node[node].attribute[attribute], random
        )


def _places(graph: Any) -> Iterator[tuple[int, int]]:
    for node, made in enumerate(graph.node):
        for place, attribute in enumerate(made.attribute):
            if made.op_type not in ("Constant", "Cast") and _can_change(attribute):
                yield node, place


def _can_change(attribute: Any) -> bool:
    kind = onnx.AttributeProto
    if attribute.type in (kind.STRING, kind.STRINGS):
        return any(one.decode() in OTHERS for one in (attribute.s, *attribute.strings))
    return attribute.type in (kind.INT, kind.INTS, kind.FLOAT, kind.FLOATS)


def _changed_attribute(node: Any, attribute: Any, random: np.random.Generator) -> str:
    was = onnx.helper.get_attribute_value(attribute)
    kind = onnx.AttributeProto
    if attribute.type == kind.INT:
        attribute.i += -1 if attribute.i > 1 or (attribute.i == 1 and attribute.name != "axis") else 1
    elif attribute.type == kind.FLOAT:
        attribute.f = attribute.f * 1.1 + 1e-3
    elif attribute.type == kind.INTS and attribute.ints:
        attribute.ints[int(random.integers(0, len(attribute.ints)))] += 1
    elif attribute.type == kind.FLOATS and attribute.floats:
        attribute.floats[int(random.integers(0, len(attribute.floats)))] *= 1.1
    elif attribute.type == kind.STRING:
        attribute.s = OTHERS[attribute.s.decode()].encode()
    elif attribute.type == kind.STRINGS:
        place = next(place for place, one in enumerate(attribute.strings) if one.decode() in OTHERS)
        attribute.strings[place] = OTHERS[attribute.strings[place].decode()].encode()
    return f"{node.op_type}.{attribute.name} was {was}: {onnx.helper.get_attribute_value(attribute)}"
