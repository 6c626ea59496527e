"""Rows that memory does not hold are prepared in parts, as those in memory are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.readers.test_readers_folders import recording
from tests.models.readers.test_readers_tfrecord import png, records
from tidegate.models.data.columns import Columns, concat, load_columns, rows_of
from tidegate.models.data.shards import Shards, ShardWriter
from tidegate.models.errors import DataError, SchemaError, SplitError
from tidegate.models.preprocessing.encoding.encoder_fitting import Moments, in_parts, quantile
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.windows import ShuffleWindows

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
    return prepare_streamed(StreamedData(source=source, folder=work, keep=keep, **asked))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.models.preprocessing.prepare_streamed.PIECE_BYTES", 5_000)
    monkeypatch.setattr("tidegate.models.data.shards.SHARD_BYTES", 20_000)


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
        monkeypatch.setattr("tidegate.models.preprocessing.prepare_streamed.PIECE_BYTES", size)
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
    windows = ShuffleWindows(made.shards, made.schema, made.transforms, np.zeros(4, np.int64), 1 << 26, 8)
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
