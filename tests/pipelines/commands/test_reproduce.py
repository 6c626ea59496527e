"""reproduce names the first epoch and the first array that differ, and refuses what cannot be trained again here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tidegate.pipelines.commands.provenance.differences import (
    epoch_difference,
    prepared_difference,
    weight_difference,
    weights_of,
)
from tidegate.pipelines.commands.provenance.reproduce import reproduce
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.state.home import Home, RunRecord


def test_the_first_epoch_that_differs() -> None:
    then = [{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.7}]
    assert epoch_difference(then, [dict(epoch) for epoch in then]) is None
    changed = [then[0], {"loss": 0.5, "accuracy": np.nextafter(0.7, 1)}]
    assert epoch_difference(then, changed) == (2, "accuracy is np.float64(0.7000000000000001), and was 0.7")
    assert epoch_difference(then, then[:1]) == (2, "1 epochs, and there were 2")
    assert epoch_difference(then, [{"loss": 1.0}, then[1]]) == (1, "accuracy is None, and was 0.5")


def test_the_first_array_that_differs(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    files = []
    for number in range(2):
        inner = tmp_path / f"{number}.h5"
        with h5py.File(inner, "w") as file:
            file["layers/dense/vars/0"] = (
                np.arange(6, dtype=np.float32).reshape(2, 3) + np.float32(1e-7) * number
            )
            file["layers/dense/vars/1"] = np.zeros(3, np.float32)
        files.append(tmp_path / f"{number}.keras")
        with zipfile.ZipFile(files[-1], "w") as packed:
            packed.write(inner, "model.weights.h5")
    one, other = map(weights_of, files)
    assert set(one) == {"layers/dense/vars/0", "layers/dense/vars/1"}
    assert weight_difference(one, one) == ""
    assert weight_difference(one, other).startswith("the array layers/dense/vars/0 differs by 1.19e-07")
    zero, minus = np.zeros(1, np.float32), np.array([-0.0], np.float32)
    assert (
        weight_difference({"a": zero}, {"a": minus}) == "the array a differs by 0"
    )  # in a bit, though equal
    assert weight_difference({"a": zero}, {}) == "the array a is there only then"
    assert weight_difference({"a": zero}, {"a": np.zeros(2)}) == (
        "the array a is float64 (2,), and was float32 (1,)"
    )


def test_the_first_output_of_prepare_that_differs() -> None:
    names = ("schema_", "transforms", "train", "validation", "test")
    then = {name: {"digest": name * 8} for name in names}
    assert prepared_difference(then, then) == ""
    assert prepared_difference(
        then, {**then, "train": {"digest": "x" * 64}, "test": {"digest": "y" * 64}}
    ) == ("its output train is xxxxxxxxxxxxxxxx, and was traintraintraint")


def test_what_has_no_winner(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(UnknownNameError, match='no run "wine" here'):
        reproduce(home, "wine")
    record = {"run": "wine-1", "name": "wine", "endpoint": "wine", "status": "failed", "created": 0.0}
    folder = home.folder_of("wine-1")
    folder.create()
    folder.write(RunRecord.model_validate({**record, "experiment": {}}))
    with pytest.raises(
        UsageError, match="run wine-1 is failed and has no winner; expected a run whose gate has judged"
    ):
        reproduce(home, "wine")
