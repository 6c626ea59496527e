"""Where two results of one step differ first: by output, by epoch, by array."""

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.store import Ref, Store

PREPARED = ("schema_", "transforms", "train", "validation", "test")
WEIGHTS = "model.weights.h5"


def prepared_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first output of `prepare` that differs, in words; "" for none."""
    for name in PREPARED:
        if then[name]["digest"] != now[name]["digest"]:
            return f"its output {name.rstrip('_')} is {now[name]['digest'][:16]}, and was {then[name]['digest'][:16]}"
    return ""


def epoch_difference(then: list[dict[str, float]], now: list[dict[str, float]]) -> tuple[int, str] | None:
    """The first epoch, from 1, in which a value differs, and which; None for none."""
    for epoch, (one, other) in enumerate(zip(then, now, strict=False), start=1):
        for name in one:
            if one[name] != other.get(name):
                return epoch, f"{name} is {other.get(name)!r}, and was {one[name]!r}"
    if len(then) != len(now):
        return min(len(then), len(now)) + 1, f"{len(now)} epochs, and there were {len(then)}"
    return None


def epochs_of(store: Store, trained: Mapping[str, Any]) -> list[dict[str, float]]:
    """What a trial logged of each epoch."""
    lines = store.fetch(Ref.model_validate(trained["events"])).read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    found = {
        event["step"]: event["values"] for event in events if event["id"] == f"epoch-{event.get('step')}"
    }
    return [found[step] for step in sorted(found)]


def weights_of(path: Path) -> dict[str, Any]:
    """The arrays of a `.keras` file, by their place in it."""
    import h5py

    found: dict[str, Any] = {}

    def keep(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            found[name] = entry[()]

    with zipfile.ZipFile(path) as packed, h5py.File(BytesIO(packed.read(WEIGHTS)), "r") as file:
        file.visititems(keep)
    return found


def weight_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first array that differs in a bit, in words; "" for none."""
    for name in sorted(then.keys() | now.keys()):
        if name not in then or name not in now:
            return f"the array {name} is there only {'then' if name in then else 'now'}"
        one, other = np.asarray(then[name]), np.asarray(now[name])
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"the array {name} is {other.dtype} {other.shape}, and was {one.dtype} {one.shape}"
        if one.tobytes() != other.tobytes():
            far = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
            return f"the array {name} differs by {far:.3g}"
    return ""
