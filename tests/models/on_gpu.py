"""Every family learned on a GPU, and what a process without one makes of it; on the backend that KERAS_BACKEND names.

`python -m tests.models.on_gpu learn FOLDER [FAMILY...]` leaves each family's model and answers in the folder; `check`,
without a GPU, answers with the same files and learns the same families. Both print, by family, JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.distributed.devices import configure_backend, gpus_seen, require_gpus
from tidegate.models.errors import GpuNotFoundError
from tidegate.models.families import FAMILIES


def learn(folder: Path, names: list[str]) -> dict[str, Any]:
    """Losses, and digests of the weights: of a training, of the same again, and of one stopped again and again."""
    from tests.models.all_families import digest, stopped, trained
    from tests.models.families.test_every_family import rows_for, taken
    from tidegate.models.networks.predict import predict

    require_gpus(1)
    found: dict[str, Any] = {}
    for name in names:
        model, history = trained(name, None)
        digests = [digest(model), digest(trained(name, None)[0]), stopped(name, folder / f"{name}-stopped")]
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.npy", predict(model, rows_for(name, taken(name)[0])))
        kinds = {type(layer).__name__ for layer in model.layers}
        found[name] = {
            "losses": [epoch["loss"] for epoch in history.epochs],
            "digests": digests,
            "draws": "Dropout" in kinds,
        }
        print(name, found[name], file=sys.stderr, flush=True)
    try:
        require_gpus(99)
    except GpuNotFoundError as error:
        found["99 GPUs"] = str(error)
    return found


def check(folder: Path, names: list[str]) -> dict[str, Any]:
    """Losses of the same trainings, and the largest difference of the answers to those that the GPU gave."""
    import keras

    from tests.models.all_families import trained
    from tests.models.families.test_every_family import rows_for, taken
    from tidegate.models.networks.predict import predict

    assert not gpus_seen()
    found: dict[str, Any] = {}
    for name in names:
        losses = [epoch["loss"] for epoch in trained(name, None)[1].epochs]
        answers = predict(
            keras.models.load_model(folder / f"{name}.keras", compile=False), rows_for(name, taken(name)[0])
        )
        found[name] = {
            "losses": losses,
            "difference": float(np.abs(answers - np.load(folder / f"{name}.npy")).max()),
        }
        print(name, found[name], file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    configure_backend(os.environ["KERAS_BACKEND"])
    work = {"learn": learn, "check": check}[sys.argv[1]]
    print(json.dumps(work(Path(sys.argv[2]), sys.argv[3:] or list(FAMILIES))))
