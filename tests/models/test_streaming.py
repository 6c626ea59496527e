"""Rows that memory does not hold: prepared in parts, learned from through windows, in an order of seed and epoch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoint import Progress
from models.columns import Columns, concat, load_columns, rows_of
from models.data import prepare
from models.data_streamed import Large, prepare_streamed
from models.errors import DataError, OptionsError, SchemaError, SplitError
from models.fit import fit
from models.learners import Moments, in_parts, quantile
from models.schema import infer_schema
from models.shards import Shards, ShardWriter
from models.transforms import Transforms
from models.windows import Windows
from tests.models.on_backend import printed_on
from tests.models.test_readers_folders import png, recording, records

SPLIT = {"validation": 0.1, "test": 0.2, "seed": 3}


def some_columns(rows: int = 600) -> Columns:
    draw = np.random.default_rng(5)
    words = np.array(["red", "green", "blue", "ö"])
    number = draw.normal(3, 2, rows)
    number[::7] = np.nan
    texts = np.array([" ".join(words[draw.integers(0, 4, draw.integers(1, 9))]) for _ in range(rows)], object)
    y = np.sort(draw.integers(0, 3, rows))  # as a folder a class gives them
    return {
        "number": number,
        "colour": words[draw.integers(0, 4, rows)].astype(object),
        "text": texts,
        "array": draw.normal(size=(rows, 5)).astype(np.float32) + y[:, None],
        "image": draw.integers(0, 256, (rows, 4, 3)).astype(np.uint8),
        "y": y,
    }


INPUTS = [{"name": name} for name in ("number", "colour", "array", "image")] + [
    {"name": "text", "kind": "text"}
]


def source_of(columns: Columns, folder: Path, files: int = 4) -> Path:
    folder.mkdir()
    for place, part in enumerate(in_parts(columns, -(-rows_of(columns) // files))):
        np.savez(
            folder / f"{place}.npz", **{n: c.astype(str) if c.dtype == object else c for n, c in part.items()}
        )
    return folder


def streamed(source: Path, work: Path, **more: Any) -> Any:
    """What was prepared, its shards as files of the folder."""
    names = iter(range(1000))

    def keep(path: Path) -> Path:
        return path.rename(work / f"{next(names)}.npz")

    asked: dict[str, Any] = {"format": None, "inputs": INPUTS, "target": ["y"], "split": SPLIT, "task": None}
    asked |= {"sample_rate": None, "memory": 1 << 24} | more
    return prepare_streamed(Large(source=source, folder=work, keep=keep, **asked))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.data_streamed.PIECE_BYTES", 5_000)
    monkeypatch.setattr("models.shards.SHARD_BYTES", 20_000)


@pytest.mark.usefixtures("small_parts")
def test_streamed_rows_are_prepared_as_those_in_memory(tmp_path: Path) -> None:
    columns = some_columns()
    source = source_of(columns, tmp_path / "data")
    made, held = streamed(source, tmp_path), prepare(source=source, inputs=INPUTS, target=["y"], split=SPLIT)
    assert made.schema == held.schema
    assert len(made.shards) > 3
    trained = concat([load_columns(path) for path in made.shards])
    rows = {"train": rows_of(trained)} | {part: rows_of(made.splits[part]) for part in ("validation", "test")}
    assert rows == made.summary["rows"]
    assert sum(rows.values()) == 600
    assert 0.15 < rows["test"] / 600 < 0.25
    every = concat([trained, made.splits["validation"], made.splits["test"]])
    present = columns["number"][np.isfinite(columns["number"])]
    assert sorted(every["number"][np.isfinite(every["number"])]) == sorted(present)
    # The transforms are those of the same training rows in memory, up to the last bits of a scale.
    found, expected = made.transforms.to_dict(), Transforms.fit(made.schema, trained).to_dict()
    assert json.dumps(rounded(found)) == json.dumps(rounded(expected))
    assert {name: told["kind"] for name, told in made.summary["fields"].items()} == {
        field.name: field.kind for field in made.schema.inputs
    }
    for name, told in held.summary["fields"].items():
        assert rounded(told) == rounded(made.summary["fields"][name]), name
    assert {name: sum(parts.values()) for name, parts in made.summary["classes"].items()} == {
        str(label): int(count) for label, count in enumerate(np.bincount(columns["y"]))
    }


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


@pytest.mark.usefixtures("small_parts")
def test_the_same_rows_come_out_whatever_the_parts_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(some_columns(), tmp_path / "data")
    found = []
    for place, size in enumerate((5_000, 50_000)):
        monkeypatch.setattr("models.data_streamed.PIECE_BYTES", size)
        (work := tmp_path / f"{place}").mkdir()
        made = streamed(source, work)
        found.append((concat([load_columns(path) for path in made.shards]), made.splits))
    for name, column in found[0][0].items():
        np.testing.assert_array_equal(column, found[1][0][name])
        np.testing.assert_array_equal(found[0][1]["test"][name], found[1][1]["test"][name])


def test_held_out_rows_are_as_many_as_memory_holds(tmp_path: Path) -> None:
    source = source_of(some_columns(), tmp_path / "data")
    made = streamed(source, tmp_path, memory=1 << 18)
    for part in ("validation", "test", "train"):
        assert 0 < rows_of(made.splits[part]) < 40
    assert made.summary["rows"]["train"] > 500


def test_types_hold_all_files_and_each_class_is_learned(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b,y\n" + "1,2,x\n" * 30)
    (tmp_path / "2.csv").write_text("a,b,y\n" + "0.5,word,x\n,,\n" * 30 + "2,4,rare\n")
    made = streamed(tmp_path, tmp_path, format="csv", inputs=None)
    assert [(field.name, field.dtype) for field in made.schema.inputs] == [("a", "float64"), ("b", "str")]
    assert made.summary["dropped_rows"] == 30
    assert made.summary["classes"]["rare"] == {"train": 1, "validation": 0, "test": 0}


def parquet_files(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    for place in range(3):
        y = np.arange(40) % 4
        table = {"x": pyarrow.array(np.random.default_rng(place).normal(size=(40, 3)).tolist()), "label": y}
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"{place}.parquet")


def tfrecord_files(folder: Path) -> None:
    for place in range(3):
        rows = [{"x": [row / 7, 1.0], "s": f"word {row % 3}".encode(), "label": row % 4} for row in range(40)]
        records(folder / f"rows.tfrecord-0000{place}-of-00003", rows)


def image_files(folder: Path) -> None:
    for place in range(120):
        (folder / "abcd"[place % 4]).mkdir(exist_ok=True)
        (folder / "abcd"[place % 4] / f"{place}.png").write_bytes(png(place))


def audio_files(folder: Path) -> None:
    for place in range(120):
        recording(folder / "abcd"[place % 4] / f"{place}.wav", np.arange(20 + place, dtype="<i2"))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("write", [parquet_files, tfrecord_files, image_files, audio_files])
def test_files_of_every_kind_stream(write: Callable[[Path], None], tmp_path: Path) -> None:
    (source := tmp_path / "data").mkdir()
    write(source)
    made = streamed(source, tmp_path, inputs=None, target=["label"])
    held = prepare(source=source, target=["label"], split=SPLIT)
    assert made.schema == held.schema
    assert sum(made.summary["rows"].values()) == 120
    assert list(made.transforms.input_specs.items()) == list(held.transforms.input_specs.items())
    windows = Windows(made.shards, made.schema, made.transforms, np.zeros(4, np.int64), 1 << 26, 8)
    inputs, target = next(windows.read(windows.order(np.random.default_rng(0)), 0))
    assert {name: array.shape[1:] for name, array in inputs.items()} == {
        name: spec.shape for name, spec in held.transforms.input_specs.items()
    }
    assert len(target) == made.summary["rows"]["train"]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"split": {"folds": 3}}, SplitError, "data.split.folds is 3 and the data is streamed"),
        (
            {"task": "generation", "target": ["text"]},
            SchemaError,
            "the task is generation and the data is streamed",
        ),
        ({"target": ["z"]}, SchemaError, "'z' is not a column"),
        ({"split": {"test": 0.0}}, SplitError, "test above 0"),
    ],
)
def test_what_can_not_be_streamed_is_told(
    tmp_path: Path, more: Any, error: type[DataError], words: str
) -> None:
    source = source_of(some_columns(60), tmp_path / "data")
    with pytest.raises(error, match=words):
        streamed(source, tmp_path, **more)


def test_moments_and_quantiles_are_numpys() -> None:
    draw = np.random.default_rng(1)
    moments, parts = Moments(), [draw.normal(1e6, 3, size) for size in (1, 500, 7, 8192)]
    for part in parts:
        moments.add(part)
    whole = np.concatenate(parts)
    np.testing.assert_allclose(moments.mean_and_scale(), (whole.mean(), whole.std()), rtol=1e-12)
    for size in range(1, 60):
        lengths = draw.integers(0, 30, size).tolist()
        assert quantile(Counter(lengths), 0.95) == np.percentile(lengths, 95)


# --- windows -----------------------------------------------------------------------------------------------


def windows_of(folder: Path, rows: int = 1000, batch: int = 16, buffer: int | None = 256) -> Windows:
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
    return Windows(
        writer.kept, schema, Transforms.fit(schema, columns), np.bincount(y), 1 << 30, batch, buffer
    )


def numbers(windows: Windows, seed: int, first: int = 0) -> list[list[int]]:
    """The row numbers of each window of an epoch, as they are learned from."""
    order = windows.order(np.random.default_rng(seed))
    found = []
    for place, (inputs, _) in enumerate(windows.read(order, first), first):
        column = inputs["x"][windows.shuffled(order, place), 0]
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
    assert windows._ahead is not None
    windows._ahead[1].result()
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


def windows_of_again(folder: Path, like: Windows) -> Windows:
    """The same rows from the same shards."""
    made = Windows.__new__(Windows)
    made.__dict__.update(like.__dict__)
    made._shards = Shards(sorted(folder.glob("s*.npz"), key=lambda path: int(path.stem[1:])))
    return made


def test_shards_give_any_rows(tmp_path: Path) -> None:
    columns = some_columns(100)
    columns["text"][::9] = None
    writer = ShardWriter(
        tmp_path, lambda path: path.rename(tmp_path / f"s{path.stat().st_mtime_ns}.npz"), 2_000
    )
    for part in in_parts(columns, 10):
        writer.add(part)
    writer.close()
    shards = Shards(writer.kept)
    assert shards.rows == 100
    for start, stop in ((0, 100), (7, 8), (5, 95), (99, 100)):
        found = shards.read(start, stop)
        for name, column in columns.items():
            np.testing.assert_array_equal(found[name], column[start:stop])


class Kept:
    """Keeps checkpoints in a list, and dies after some."""

    keeps = True

    def __init__(self, work: Path) -> None:
        self.work, self.most, self.contents = work, 0, list[bytes]()

    def put(self, path: Path) -> None:
        self.contents.append(path.read_bytes())
        if len(self.contents) == self.most:
            raise KeyboardInterrupt

    def found(self) -> Iterator[Path]:
        if self.contents:
            (self.work / "last.npz").write_bytes(self.contents[-1])
            yield self.work / "last.npz"

    def skipped(self, reason: str) -> None:
        raise AssertionError(reason)

    def ending(self) -> bool:
        return False


def trained(
    windows: Windows, keeper: Any = None, places: list[tuple[int, int]] | None = None, **more: Any
) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    x = keras.Input((6,), name="x")
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(16, activation="relu")(x))
    model = keras.Model({"x": x}, keras.layers.Dense(3, activation="softmax")(hidden))

    def note(progress: Progress, _: int) -> None:
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
        keeper=keeper,
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
    check_killed_and_whole(printed_on(backend, "-m", "tests.models.test_streaming", str(tmp_path)))


def test_what_needs_all_rows_is_refused(tmp_path: Path) -> None:
    windows = windows_of(tmp_path, 100)
    with pytest.raises(
        OptionsError, match=r"training.privacy' is for rows in memory, and the data is streamed"
    ):
        trained(windows, privacy={})


if __name__ == "__main__":
    print(json.dumps(killed_and_whole(Path(sys.argv[1]))))
