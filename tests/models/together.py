"""One training on JAX, as one of its members: `python -m tests.models.together CASE` prints its losses as JSON.

Who starts it says by the environment which member it is (`process_group.Member.environment`) and how many devices it
has (XLA_FLAGS). `--alone` trains on one device first. `--kill BEAT`, `--stop BEAT` and `--hang BEAT` end, stop or hold
this member before that beat, of which a call has two.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
import traceback
from typing import Any

import numpy as np

ROWS, HELD_OUT, BATCH, EPOCHS = 330, 90, 32, 3
CASES: dict[str, dict[str, Any]] = {
    "mlp": {"family": "mlp", "hidden": [32, 16], "dropout": 0.2},
    "cnn": {"family": "cnn", "filters": [4], "dense": [8]},
}


def rows(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Seeded rows that can be learned."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 10, count)
    centres = np.random.default_rng(0).normal(0, 1, (10, 8, 8, 1))
    return {"x": (centres[y] + draw.normal(0, 1, (count, 8, 8, 1))).astype(np.float32)}, y


def main() -> dict[str, Any]:
    """Train, and tell the figures of each epoch and a sum of the weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--alone", action="store_true")
    for how in ("kill", "stop", "hang"):
        parser.add_argument(f"--{how}", type=int)
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "jax"
    from tidegate.models.distributed.process_group import Group, current_member, join
    from tidegate.models.networks.keras_import import import_keras

    member = current_member()

    class Troubled(Group):
        """A member that goes wrong on purpose."""

        def heartbeat(self) -> None:
            beat = self._calls[self.member.rank] + 1
            if beat == given.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if beat == given.stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            if beat == given.hang:
                time.sleep(1000)
            super().heartbeat()

    group = None
    if member.size > 1:
        group = join(member, given.timeout, print, Troubled)
    import_keras()
    alone = {"alone": trained(given.case, None, 1)} if given.alone else {}
    found = trained(given.case, group, 0)
    if group is not None:
        group.leave()
    return {**found, **alone}


def trained(case: str, group: Any, devices: int) -> dict[str, Any]:
    """Train on so many devices of this process; 0: on all."""
    import jax

    from tidegate.models.families.build import build_model
    from tidegate.models.networks.outputs import outputs_for
    from tidegate.models.preprocessing.transforms import InputSpec
    from tidegate.models.training.fit import fit

    kind = InputSpec((8, 8, 1), "float32", "image")
    model = build_model(CASES[case], {"x": kind}, outputs_for("classification", 10, 0), 1)
    history = fit(
        model,
        rows(ROWS, 1),
        rows(HELD_OUT, 2),
        {"epochs": EPOCHS, "batch_size": BATCH, "backend": "jax"},
        task="classification",
        classes=list(range(10)),
        seed=3,
        gpus=devices,
        group=group,
    )
    total = sum(float(np.abs(np.asarray(array)).sum()) for array in model.get_weights())
    return {"epochs": history.epochs, "weights": total, "devices": devices or jax.device_count()}


if __name__ == "__main__":
    try:
        print(json.dumps(main()), flush=True)
    except Exception:
        traceback.print_exc()
        os._exit(1)  # as the worker does: JAX's own end would wait for members that are gone
