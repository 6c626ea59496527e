"""Every public layer of Keras in small models: what the exporter makes of it, and how far its answers are off.

`python -m tests.models.export.every_layer` measures all and writes every_layer.json; `python -m tests.docs` makes the
table of models/export/README.md of it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime

from tests.models.export.layer_cases import CASES, Case
from tests.models.export.layer_results import RESULTS, Result
from tidegate.models.errors import ExportError
from tidegate.models.export.onnx import export_onnx

ROWS = 5
CLOSE = 1e-5  # of the largest answer


def measured(case: Case, folder: Path) -> Result:
    """Build, export and compare a case."""
    model, path = model_of(case), folder / "model.onnx"
    try:
        export_onnx(model, path)
    except ExportError as error:
        return Result(case.layer, None, str(error).partition(": ")[2])
    session = onnxruntime.InferenceSession(path)
    return Result(
        case.layer, max(_difference(model, session, rows_of(case, count)) for count in (ROWS, 1)), ""
    )


def _difference(model: Any, session: Any, rows: np.ndarray) -> float:
    wanted = np.asarray(model({"x": rows}, training=False), np.float64)
    (found,) = session.run(None, {"x": rows})
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))


def model_of(case: Case) -> Any:
    """An untrained model of this layer alone, all of whose weights are some other number."""
    keras.utils.clear_session()  # so that a layer's name does not follow from what was built before
    keras.utils.set_random_seed(1)
    x = keras.Input(case.shape, dtype=case.dtype, name="x")
    layer = eval(f"layers.{case.layer}", {"layers": keras.layers, "keras": keras, "np": np})
    model = keras.Model({"x": x}, case.call(layer, x))
    random = np.random.default_rng(1)
    for weight in model.weights:
        if str(weight.dtype).startswith("float"):
            weight.assign(weight + 0.1 * np.abs(random.normal(size=weight.shape)))
    return model


def rows_of(case: Case, count: int = ROWS) -> np.ndarray:
    """Rows near 0, of which every second one is 20 times as large; of ids whole numbers below 10."""
    random = np.random.default_rng(2)
    shape = [count, *(11 if size is None else size for size in case.shape)]
    if case.dtype == "int32":
        return random.integers(0, 10, shape).astype(np.int32)
    rows = random.normal(size=shape).astype(np.float32)
    rows[1::2] *= 20
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        found = [measured(case, Path(work)) for case in CASES]
    RESULTS.write_text(json.dumps([asdict(result) for result in found], indent=1) + "\n", "utf-8")
