"""A trained SavedModel, TensorFlow's folder: its `serving_default` function, and its ONNX export, which is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.errors import ExportError, UserModelError, one_line
from tidegate.models.export.onnx import check, convert, reason, rename, silence
from tidegate.models.preprocessing.raw_inputs import ModelInput

SIGNATURE = "serving_default"


class SavedModel:
    """A folder that `serving.untrusted` has checked.

    Attributes:
        inputs: of its function.

    Raises:
        UserModelError: it cannot be loaded, has no such function, or several outputs.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        try:
            self._whole = tf.saved_model.load(str(folder))
        except Exception as error:
            raise UserModelError(
                f"the SavedModel cannot be loaded: {one_line(error)[:500]}; expected a folder that model.export() wrote"
            ) from error
        self._function: Any = getattr(self._whole, "signatures", {}).get(SIGNATURE)
        if self._function is None:
            raise UserModelError(
                f"the SavedModel has no function {SIGNATURE}; expected one; write it with model.export(folder)"
            )
        outputs = sorted(self._function.structured_outputs)
        if len(outputs) != 1:
            raise UserModelError(
                f"the SavedModel answers {', '.join(outputs)}; expected one output; export a model with the one to "
                "serve"
            )
        self._specs = dict(self._function.structured_input_signature[1])
        self._answer = outputs[0]
        self.inputs = [_input(name, spec) for name, spec in self._specs.items()]

    def run(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """The answers of rows, float32 `(n, units)`."""
        import tensorflow as tf

        given = {name: tf.constant(inputs[name]) for name in self._specs}
        return np.asarray(self._function(**given)[self._answer].numpy(), np.float32)

    def export(self, path: Path) -> None:
        """Write it as an ONNX file.

        Raises:
            ExportError: it has no ONNX form.
        """
        import tensorflow as tf

        names = list(self._specs)
        signature = [
            tf.TensorSpec(spec.shape, spec.dtype, name=f"input_{place}")
            for place, spec in enumerate(self._specs.values())
        ]

        def answer_of(*tensors: Any) -> Any:
            return self._function(**dict(zip(names, tensors, strict=True)))[self._answer]

        try:
            with silence():
                proto = convert(answer_of, signature)
                rename(proto, names, ["output"])
                for end in (*proto.graph.input, *proto.graph.output):
                    end.type.tensor_type.shape.dim[0].dim_param = "rows"
                check(proto)
        except Exception as error:
            raise ExportError(f"the SavedModel has no ONNX form: {reason(error)}") from error
        path.write_bytes(proto.SerializeToString())


def _input(name: str, spec: Any) -> ModelInput:
    sizes = spec.shape.as_list()
    if not sizes or sizes[0] is not None:
        raise UserModelError(
            f"the SavedModel's input {name!r} has the shape {sizes}; expected any number of rows first; export it again"
        )
    dtype = "str" if spec.dtype.name == "string" else spec.dtype.name
    return ModelInput(name, tuple(sizes[1:]), dtype)
