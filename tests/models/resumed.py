"""One training to its end, and one that is stopped again and again: the digests of both, of images.

`KERAS_BACKEND=... python -m tests.models.resumed '{"augmentation": ...}' FOLDER [MODEL]` prints them as a JSON list.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.training.test_checkpoint import Files
from tidegate.models.errors import StoppedError
from tidegate.models.families.build import build_model, precision_scope
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, 2, 110)
X = (RANDOM.normal(size=(110, 6, 6, 1)) * 0.1 + Y[:, None, None, None] * np.eye(6)[:, :, None]).astype(
    np.float32
)
SPECS = {"x": InputSpec((6, 6, 1), "float32", "image")}
MODEL = {"family": "cnn", "filters": [3], "dense": [5], "dropout": 0.3}
TRAINING = {"epochs": 3, "batch_size": 16, "checkpoint": {"every": 1}, "early_stopping": {"patience": 2}}


def trained(
    training: dict[str, Any], keeper: Files | None = None, model: dict[str, Any] | None = None
) -> tuple[Any, Any]:
    """The model and its history; `model` changes the options of MODEL."""
    rows, others = ({"x": X[:80]}, Y[:80]), ({"x": X[80:]}, Y[80:])
    wanted = {**TRAINING, "backend": os.environ.get("KERAS_BACKEND", "tensorflow"), **training}
    watch = {"task": "classification", "classes": (0, 1), "seed": 5, "images": ["x"]}
    precision = training.get("precision", "float32")
    with precision_scope(precision):
        built = build_model(MODEL | (model or {}), SPECS, outputs_for("classification", 2, 0), 1, precision)
        return built, fit(built, rows, others, wanted, checkpoints=keeper, **watch)


def digest(model: Any, history: Any) -> str:
    """Of all weights and of what each epoch told."""
    weights = b"".join(np.asarray(weight).tobytes() for weight in model.get_weights())
    return hashlib.sha256(weights + json.dumps(history.epochs).encode()).hexdigest()


def digests(
    training: dict[str, Any], folder: Path, most: int = 4, model: dict[str, Any] | None = None
) -> list[str]:
    """Of both trainings; the second is stopped after every so many batches, of five an epoch."""
    found = [digest(*trained(training, None, model))]
    while len(found) == 1:
        try:
            found.append(digest(*trained(training, Files(folder, most=most), model)))
        except StoppedError:
            continue
    return found


if __name__ == "__main__":
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else None
    print(json.dumps(digests(json.loads(sys.argv[1]), Path(sys.argv[2]), 8, options)))
