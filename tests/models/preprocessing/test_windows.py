"""Windows of rows that stay on the disk: their order, what is read when, and a training that is killed and goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.on_backend import printed_on
from tidegate.models.data.shards import Shards, ShardWriter
from tidegate.models.errors import OptionsError
from tidegate.models.preprocessing.encoding.encoder_fitting import in_parts
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.windows import ShuffleWindows
from tidegate.models.training.checkpoint import TrainingProgress
from tidegate.models.training.fit import fit


def windows_of(folder: Path, rows: int = 1000, batch: int = 16, buffer: int | None = 256) -> ShuffleWindows:
    draw = np.random.default_rng(2)
    y = np.sort(draw.integers(0, 3, rows))
    columns = {"x": (draw.normal(size=(rows, 6)) + y[:, None]).astype(np.float32), "y": y}
    columns["x"][:, 0] = np.arange(rows)
    writer = ShardWriter(
        folder, lambda path: path.rename(folder / f"s{len(list(folder.glob('s*')))}.npz"), 4_000
    )
    for part in in_parts(columns, 50):
        writer.add(part)
    writer.close()
    schema = infer_schema(columns, None, ["y"], None)
    return ShuffleWindows(
        writer.kept, schema, Transforms.fit(schema, columns), np.bincount(y), 1 << 30, batch, buffer
    )


def numbers(windows: ShuffleWindows, seed: int, first: int = 0) -> list[list[int]]:
    """The row numbers of each window of an epoch, as they are learned from."""
    order = windows.order(np.random.default_rng(seed))
    found = []
    for place, (inputs, _) in enumerate(windows.read(order, first), first):
        column = inputs["x"][windows.row_order(order, place), 0]
        found.append(column)
    return found


def test_an_epoch_has_each_row_once_in_an_order_of_its_seed(tmp_path: Path) -> None:
    windows = windows_of(tmp_path)
    assert (windows.size, windows.windows) == (256, 4)
    found = numbers(windows, 1)
    assert [len(part) for part in found] == [256, 256, 256, 232]
    assert len(set(np.concatenate(found).tolist())) == 1000
    for again, first in ((numbers(windows, 1, 2), 2), (numbers(windows_of_again(tmp_path, windows), 1), 0)):
        for one, other in zip(again, found[first:], strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(numbers(windows, 2)[0], found[0])
    # Rows sorted by class are mixed: a window has a share of each, as the data has.
    order = windows.order(np.random.default_rng(1))
    shares = [np.bincount(target, minlength=3) / len(target) for _, target in windows.read(order, 0)]
    assert np.abs(np.array(shares) - windows.counts / 1000).max() < 0.15


def test_the_next_epoch_is_begun_while_this_one_ends(tmp_path: Path) -> None:
    windows = windows_of(tmp_path)
    orders = [windows.order(np.random.default_rng(seed)) for seed in (1, 2)]
    expected = next(windows.read(orders[1], 0))[0]["x"].copy()
    coming = windows.read(orders[0], 0, orders[1])
    for _ in range(windows.windows):
        last = next(coming)[0]["x"]
    coming.close()
    kept = last.copy()
    assert windows._prefetched is not None
    windows._prefetched[1].result()
    np.testing.assert_array_equal(last, kept)  # in another room
    for path in tmp_path.glob("s*.npz"):
        path.unlink()
    again = windows.read(orders[1], 0)
    np.testing.assert_array_equal(next(again)[0]["x"], expected)
    with pytest.raises(FileNotFoundError):
        next(again)


def test_the_only_window_is_read_once(tmp_path: Path) -> None:
    windows = windows_of(tmp_path, buffer=2000)
    assert windows.windows == 1
    found = [numbers(windows, seed)[0] for seed in (1, 2)]
    for path in tmp_path.glob("s*.npz"):
        path.unlink()
    np.testing.assert_array_equal(numbers(windows, 1)[0], found[0])
    assert not np.array_equal(found[0], found[1])
    for part in found:
        np.testing.assert_array_equal(np.sort(part), np.sort(found[0]))
    assert len(set(found[0].tolist())) == 1000


def test_windows_are_of_one_size(tmp_path: Path) -> None:
    windows = windows_of(tmp_path, buffer=500)  # 63 batches, 31 fit
    assert (windows.size, windows.windows) == (21 * 16, 3)


def windows_of_again(folder: Path, like: ShuffleWindows) -> ShuffleWindows:
    """The same rows from the same shards."""
    made = ShuffleWindows.__new__(ShuffleWindows)
    made.__dict__.update(like.__dict__)
    made._shards = Shards(sorted(folder.glob("s*.npz"), key=lambda path: int(path.stem[1:])))
    return made


class Kept:
    """Keeps checkpoints in a list, and dies after some."""

    writes = True

    def __init__(self, work: Path) -> None:
        self.work, self.most, self.contents = work, 0, list[bytes]()

    def save(self, path: Path) -> None:
        self.contents.append(path.read_bytes())
        if len(self.contents) == self.most:
            raise KeyboardInterrupt

    def candidates(self) -> Iterator[Path]:
        if self.contents:
            (self.work / "last.npz").write_bytes(self.contents[-1])
            yield self.work / "last.npz"

    def report_unusable(self, reason: str) -> None:
        raise AssertionError(reason)

    def stop_requested(self) -> bool:
        return False


def trained(
    windows: ShuffleWindows, keeper: Any = None, places: list[tuple[int, int]] | None = None, **more: Any
) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    x = keras.Input((6,), name="x")
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(16, activation="relu")(x))
    model = keras.Model({"x": x}, keras.layers.Dense(3, activation="softmax")(hidden))

    def note(progress: TrainingProgress, _: int) -> None:
        assert places is not None
        places.append((progress.epoch, progress.batch))

    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    training = {"backend": backend, "epochs": 3, "batch_size": 16, "checkpoint": {"every": 5}}
    training |= {"class_weights": "balanced"} | more
    history = fit(
        model,
        windows,
        None,
        training,
        task="classification",
        classes=(0, 1, 2),
        seed=3,
        on_resume=note,
        checkpoints=keeper,
    )
    return [np.asarray(weight) for weight in model.get_weights()], history.epochs


def killed_and_whole(folder: Path) -> dict[str, Any]:
    """A training that is killed three times and one that is not: digests, and the places that it went on from."""
    windows, places = windows_of(folder), list[tuple[int, int]]()
    keeper = Kept(folder)
    for most in (4, 9, 15):  # batch 20 of 63; 45, in another window; the next epoch
        keeper.most = most
        with contextlib.suppress(KeyboardInterrupt):
            trained(windows, keeper, places)
    keeper.most = 10**9
    killed, whole = trained(windows, keeper, places), trained(windows)
    return {"killed": digest(*killed), "whole": digest(*whole), "places": places, "epochs": whole[1]}


def digest(weights: list[np.ndarray], epochs: list[dict[str, float]]) -> str:
    return hashlib.sha256(b"".join(w.tobytes() for w in weights) + json.dumps(epochs).encode()).hexdigest()


def check_killed_and_whole(found: dict[str, Any]) -> None:
    assert [tuple(place) for place in found["places"]] == [(0, 20), (0, 45), (1, 15)]
    assert found["killed"] == found["whole"]
    assert found["epochs"][-1]["accuracy"] > 0.5 > 1 / 3


def test_a_streamed_training_that_was_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    check_killed_and_whole(killed_and_whole(tmp_path))


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_same_on_other_backends(backend: str, tmp_path: Path) -> None:
    check_killed_and_whole(
        printed_on(backend, "-m", "tests.models.preprocessing.test_windows", str(tmp_path))
    )


def test_what_needs_all_rows_is_refused(tmp_path: Path) -> None:
    windows = windows_of(tmp_path, 100)
    with pytest.raises(
        OptionsError, match=r"training.privacy' is given and the data is streamed; expected rows in memory"
    ):
        trained(windows, privacy={})


if __name__ == "__main__":
    print(json.dumps(killed_and_whole(Path(sys.argv[1]))))
