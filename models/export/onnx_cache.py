"""Export of a decoder-only transformer so that it reads only new tokens: keys and values go in and come out.

`tokens` and `positions` `(rows, new)`, `past_positions` `(rows, past)` and of each layer `past_key_I`, `past_value_I`
`(rows, heads, past, dim)` go in; `output` `(rows, new, units)` and of each layer `new_key_I`, `new_value_I` come out. A
token sees those whose position is not above its own, so that a slot with a large position is seen by none.

The graph is written operator by operator from the layers' weights, and not traced as in `export.onnx`: the number of
operators is most of what a token costs, and tracing makes three times as many.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import ExportError
from tidegate.models.export.onnx import OPSET, check, reason
from tidegate.models.networks.self_attention import BASE, HIDDEN

FAMILY, LAYER = "gpt", "query_key_value_"  # what its model and one of each layer's parts are called
IR = 8  # of ONNX files, which every runtime of the last years reads
END = np.iinfo(np.int64).max
HEADS_FIRST, KEYS_LAST = [2, 0, 3, 1, 4], [0, 1, 3, 2]


def has_cache(model: Any) -> bool:
    """Whether a trained Keras model is of a family whose keys and values can be kept."""
    return model.name == FAMILY and any(layer.name == f"{LAYER}0" for layer in model.layers)


def export_cached(model: Any, path: Path) -> None:
    """Write the ONNX file of a trained model of the family `gpt`, on any backend.

    Args:
        model: of `families.gpt.build`, in float32, whose layers are found by their names.
        path: the file to write.

    Raises:
        ExportError: with the reason; nothing is left there.
    """
    try:
        proto = _Graph(model).proto()
        check(proto)
    except Exception as error:
        raise ExportError(f"the model has no ONNX form with a cache: {reason(error)}") from error
    path.write_bytes(proto.SerializeToString())


class _Graph:
    """The operators and constants of a graph, in order."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.layers = sum(layer.name.startswith(LAYER) for layer in model.layers)
        shapes = [layer.target_shape for layer in model.layers if hasattr(layer, "target_shape")]
        self.heads, self.dim = next(map(int, shape[1:]) for shape in shapes if len(shape) == 3)

    def proto(self) -> Any:
        """The whole model."""
        import onnx

        self._shared()
        x = self.add("Gather", self.weights("tokens")[0], "tokens")
        for place in range(self.layers):
            x = self.add("Add", x, self._attention(self._normed(x, f"norm_attention_{place}"), place))
            near = self._gelu(self._dense(self._normed(x, f"norm_forward_{place}"), f"wide_{place}"))
            x = self.add("Add", x, self._dense(near, f"forward_{place}"))
        last = self._model.layers[-1]
        if last.activation.__name__ != "softmax":
            raise ValueError(f"its last layer has {last.activation.__name__}; expected softmax")
        self.add("Softmax", self._dense(self._normed(x, "norm"), last.name), result="output", axis=-1)
        inputs, outputs = self._ends(last.units)
        graph = onnx.helper.make_graph(self._nodes, FAMILY, inputs, outputs, self._constants)
        opsets = [onnx.helper.make_opsetid("", OPSET)]
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR)

    def add(self, kind: str, *given: Any, result: str = "", results: int = 1, **attributes: Any) -> Any:
        """Add an operator of values and constants; returns the name of its result, or of several."""
        import onnx

        names = [one if isinstance(one, str) else self._constant(one) for one in given]
        found = [f"{kind}_{len(self._nodes)}_{place}" for place in range(results)]
        found = [result] if result else found
        self._nodes.append(onnx.helper.make_node(kind, names, found, name=found[0], **attributes))
        return found[0] if results == 1 else found

    def weights(self, layer: str) -> list[NDArray[np.float32]]:
        """Of a layer, float32."""
        return [np.asarray(one, np.float32) for one in self._model.get_layer(layer).get_weights()]

    def _constant(self, value: Any) -> str:
        import onnx

        name = f"constant_{len(self._constants)}"
        self._constants.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _ends(self, units: int) -> tuple[list[Any], list[Any]]:
        import onnx

        whole, real = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
        describe = onnx.helper.make_tensor_value_info
        pairs = [f"{part}_{place}" for place in range(self.layers) for part in ("key", "value")]
        inputs = [describe(name, whole, ["rows", "new"]) for name in ("tokens", "positions")]
        inputs.append(describe("past_positions", whole, ["rows", "past"]))
        kept = ["rows", self.heads, "past", self.dim]
        inputs += [describe(f"past_{name}", real, kept) for name in pairs]
        outputs = [describe("output", real, ["rows", "new", units])]
        kept = ["rows", self.heads, "new", self.dim]
        return inputs, outputs + [describe(f"new_{name}", real, kept) for name in pairs]

    def _shared(self) -> None:
        """What all layers read: the angles' cosines and sines, which scores are hidden, how many tokens came before."""
        import onnx

        half = self.dim // 2
        frequencies = (BASE ** (-np.arange(half) / half)).astype(np.float32)
        queries = self.add("Unsqueeze", "positions", np.array([1, 3]))
        every = self.add("Concat", "past_positions", "positions", axis=1)
        keys = self.add("Unsqueeze", every, np.array([1, 2]))
        visible = self.add("GreaterOrEqual", queries, keys)
        self.hidden = self.add("Where", visible, np.float32(0), np.float32(HIDDEN))
        numbers = self.add("Cast", queries, to=onnx.TensorProto.FLOAT)
        angles = self.add("Mul", numbers, frequencies)
        self.cosines, self.sines = self.add("Cos", angles), self.add("Sin", angles)
        self.past = self.add("Shape", "past_positions", start=1, end=2)
        self.last = np.array([3])

    def _normed(self, x: str, layer: str) -> str:
        epsilon = float(self._model.get_layer(layer).epsilon)
        return str(self.add("LayerNormalization", x, *self.weights(layer), axis=-1, epsilon=epsilon))

    def _dense(self, x: str, layer: str) -> str:
        kernel, *bias = self.weights(layer)
        product = self.add("MatMul", x, kernel)
        return str(self.add("Add", product, bias[0]) if bias else product)

    def _gelu(self, x: str) -> str:
        """x (1 + erf(x / sqrt 2)) / 2, in the form that ONNX Runtime has one operator for."""
        inner = self.add("Erf", self.add("Div", x, np.float32(np.sqrt(2))))
        product = self.add("Mul", x, self.add("Add", inner, np.float32(1)))
        return str(self.add("Mul", product, np.float32(0.5)))

    def _attention(self, near: str, place: int) -> str:
        joint = self._dense(near, f"{LAYER}{place}")
        parts = self.add("Reshape", joint, np.array([0, 0, 3, self.heads, self.dim]))
        both, value = self.add(
            "Split", self.add("Transpose", parts, perm=HEADS_FIRST), np.array([2, 1]), results=2, axis=0
        )
        turned = self._turned(both)
        query = self.add("Mul", self.add("Gather", turned, np.int64(0), axis=0), np.float32(self.dim**-0.5))
        key = self.add("Gather", turned, np.int64(1), axis=0, result=f"new_key_{place}")
        value = self.add("Squeeze", value, np.array([0]), result=f"new_value_{place}")
        scores = [
            self.add("MatMul", query, self.add("Transpose", keys, perm=KEYS_LAST))
            for keys in (f"past_key_{place}", key)
        ]
        seen = self.add("Add", self.add("Concat", *scores, axis=-1), self.hidden)
        shares = self.add("Softmax", seen, axis=-1)
        earlier = self.add("Slice", shares, np.array([0]), self.past, self.last)
        own = self.add("Slice", shares, self.past, np.array([END]), self.last)
        found = self.add(
            "Add", self.add("MatMul", earlier, f"past_value_{place}"), self.add("MatMul", own, value)
        )
        merged = self.add("Transpose", found, perm=[0, 2, 1, 3])
        side_by_side = self.add("Reshape", merged, np.array([0, 0, self.heads * self.dim]))
        return self._dense(side_by_side, f"attention_{place}")

    def _turned(self, x: str) -> str:
        """Queries and keys, rotated by their positions' angles, see `networks.self_attention`."""
        half = self.dim // 2
        first, second = self.add("Split", x, np.array([half, half]), results=2, axis=-1)
        products = [
            self.add("Mul", part, by) for part in (first, second) for by in (self.cosines, self.sines)
        ]
        real = self.add("Sub", products[0], products[3])
        other = self.add("Add", products[2], products[1])
        return str(self.add("Concat", real, other, axis=-1))
