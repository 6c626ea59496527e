"""Which layer an ONNX file computes otherwise than the trained model: their intermediate values are compared.

The converter renames, fuses and transposes, so a layer's result is looked for among all values of the file, in any
order of axes. One that is found nowhere, and nothing that follows from it either, is where the two part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import take
from tidegate.models.export.onnx import silence
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import load_probes

ROWS = 8
CLOSE = 1e-5  # of a value's largest number: more than rounding
MOST_AXES = 4
Array = NDArray[Any]


def differing_layer(
    *, saved: Path, exported: Path, transforms: Path, probes: Path, row: int, code: Path | None
) -> str:
    """Find the first layer that differs, in a separate process on TensorFlow.

    Args:
        saved: the `.keras` file.
        exported: the ONNX file.
        transforms: JSON file of the transforms.
        probes: rows, written by `save_probes`.
        row: of the probes, the one that differs most.
        code: the user's model file, which may define layers of the model.

    Returns:
        A clause that names it; "" if none can be named.
    """
    argv = [sys.executable, "-P", "-m", "tidegate.models.export.layer_differences"]
    argv += [
        str(saved),
        str(exported),
        str(transforms),
        str(probes),
        str(row),
        *([str(code)] if code else []),
    ]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""


def first_difference(model: Any, exported: Path, inputs: Mapping[str, Array]) -> str:
    """The clause for a loaded model and model inputs of a few rows; see `differing_layer`."""
    from tidegate.models.networks.heads.last_activation import without_last_activation
    from tidegate.models.networks.layer_values import layer_values

    found = intermediate_values(exported, inputs)
    with without_last_activation(model):  # its 0 and 1 would be found again whatever stands before them
        calls = layer_values(model, inputs)
    distances = [_distance(np.asarray(call.value), found) for call in calls]
    explained = [distance <= CLOSE for distance in distances]
    for place in reversed(range(len(calls))):  # what is fused into a value that is right is right
        if explained[place]:
            for parent in calls[place].parents:
                explained[parent] = True
    for call, distance, right in zip(calls, distances, explained, strict=True):
        if not right and type(call.layer).__name__ != "InputLayer":
            far = f", by {distance:.2g} times its largest value" if np.isfinite(distance) else ""
            return f"the first layer that differs is {call.layer.name!r} ({type(call.layer).__name__}){far}"
    return ""


def intermediate_values(exported: Path, inputs: Mapping[str, Array]) -> list[Array]:
    """All float values that an ONNX file computes outside of loops and branches."""
    import onnx

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # a thread and uploads, from its import on
    import onnxruntime

    proto = onnx.load_model(str(exported))
    ends = {end.name for end in proto.graph.output}
    names = [name for node in proto.graph.node for name in node.output if name and name not in ends]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {one.name: inputs[one.name] for one in session.get_inputs()}
    values = [value for value in session.run(None, given) if isinstance(value, np.ndarray)]
    return [value for value in values if value.dtype.kind == "f"]


def _distance(value: Array, found: list[Array]) -> float:
    """How far a value is from the nearest one in the file, of its largest number; infinite if none has its size."""
    if value.dtype.kind != "f":
        return 0.0  # ids and flags are part of how, not of what is computed
    largest = max(float(np.abs(value).max(initial=0)), 1e-30)
    same = [one.reshape(-1) for one in found if one.size == value.size]
    orders = permutations(range(value.ndim)) if value.ndim <= MOST_AXES else [tuple(range(value.ndim))]
    turned = [np.transpose(value, order).reshape(-1) for order in orders]
    distances = (float(np.abs(one - other).max(initial=0)) for one in same for other in turned)
    return min(distances, default=np.inf) / largest


def main(saved: str, exported: str, transforms: str, probes: str, row: str, code: str | None = None) -> None:
    """The separate process: it prints the clause."""
    import_keras(own_code=code is not None)
    import keras

    from tidegate.models.user_code.model_source import custom_objects

    own = custom_objects(Path(code)) if code else {}
    with silence():
        model = keras.models.load_model(saved, custom_objects=own, compile=False)
        rows = load_probes(Path(probes)).columns
        count = len(next(iter(rows.values())))
        chosen = [int(row), *range(min(ROWS - 1, count))]
        fitted = Transforms.from_dict(json.loads(Path(transforms).read_bytes()))
        clause = first_difference(model, Path(exported), fitted.apply(take(rows, np.array(chosen))))
    print(clause)


if __name__ == "__main__":
    main(*sys.argv[1:])
