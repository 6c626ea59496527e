"""Every family on the backend that KERAS_BACKEND names: learned, stopped and gone on with, saved and exported.

`KERAS_BACKEND=... python -m tests.models.all_families FOLDER [FAMILY...]` prints by family the first and last loss, the
digests of the weights of an undisturbed training and of one that was stopped again and again, and the largest
difference between the model's answers and the ONNX file's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tests.models.families.test_every_family import learned, rows_for, taken
from tests.models.training.test_checkpoint import Files
from tidegate.models.errors import StoppedError
from tidegate.models.export.onnx import export_saved
from tidegate.models.families import FAMILIES
from tidegate.models.networks.predict import predict
from tidegate.models.training.fit import History


def trained(name: str, keeper: Files | None) -> tuple[Any, History]:
    """See `learned`; a checkpoint after each batch."""
    return learned(name, keeper, backend=os.environ["KERAS_BACKEND"], checkpoint={"every": 1})


def digest(model: Any) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest()


def stopped(name: str, folder: Path) -> str:
    """The digest of a training that is stopped after every thirteenth batch."""
    folder.mkdir()
    while True:
        try:
            return digest(trained(name, Files(folder, most=13))[0])
        except StoppedError:
            continue


def difference(name: str, model: Any, folder: Path) -> float:
    """The largest between the model and its ONNX file, on all rows."""
    inputs = rows_for(name, taken(name)[0])
    model.save(folder / "model.keras")
    export_saved(model, folder / "model.keras", folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, inputs)[0] - predict(model, inputs)).max())


def main(folder: Path, names: list[str]) -> dict[str, Any]:
    found = {}
    for name in names or FAMILIES:
        model, history = trained(name, None)
        found[name] = {
            "losses": [history.epochs[0]["loss"], history.epochs[-1]["loss"]],
            "digests": [digest(model), stopped(name, folder / name)],
            "difference": difference(name, model, folder / name),
        }
        print(name, found[name], file=sys.stderr)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
