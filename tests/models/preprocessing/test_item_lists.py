"""Lists of tokens and bags of ids: from any reader to a network's ids, and ids by their hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.item_lists import items_of, items_text
from tidegate.models.errors import FormatError, SchemaError
from tidegate.models.preprocessing.encoding.hashed_ids import hashed
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.transforms import Transforms

GENRES = (["a", "b"], ["b"], [], ["c", "a", "a"], ["b", "c"])


@pytest.mark.parametrize(
    ("cell", "kind", "items"),
    [
        ('["a", 7, "7.0"]', "ids", ["a", "7", "7.0"]),
        ("a|b c| d", "ids", ["a", "b c", "d"]),
        ("1;2", "ids", ["1", "2"]),
        ("x y", "ids", ["x", "y"]),
        ("Mr. Smith|Jones, went", "tokens", ["Mr.", "Smith|Jones,", "went"]),
        ("", "ids", []),
        (None, "tokens", []),
        ("[]", "tokens", []),
    ],
)
def test_a_cell_is_a_list_in_one_of_few_ways(cell: str | None, kind: str, items: list[str]) -> None:
    assert items_of(cell, kind) == items
    assert items_of(items_text(items), kind) == items


@pytest.mark.parametrize("cell", ["[a, b]", "[1.5]", "[null]", "[true]", '[["a"]]', "[" * 99_999])
def test_a_cell_that_begins_as_a_list_and_is_none_is_told(cell: str) -> None:
    with pytest.raises(SchemaError, match="is no list of ids; expected texts or whole numbers"):
        items_of(cell, "ids")


def rows(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"genres": GENRES[row % 5], "user": 10**15 + row % 7, "words": ["W", str(row % 4)], "y": row % 2}
        for row in range(count)
    ]


def jsonl(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


def parquet(folder: Path) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows()), path)
    return path


def csv(folder: Path) -> Path:
    path = folder / "rows.csv"
    lines = (f"{'|'.join(row['genres'])},{row['user']},{' '.join(row['words'])},{row['y']}" for row in rows())
    path.write_text("\n".join(["genres,user,words,y", *lines]))
    return path


INPUTS = (
    {"name": "genres", "kind": "ids"},
    {"name": "user", "kind": "id"},
    {"name": "words", "kind": "tokens"},
)


def prepared_of(path: Path, *inputs: dict[str, Any]) -> Prepared:
    with recorded():
        return prepare(source=path, inputs=inputs or INPUTS, target=["y"], task="classification")


@pytest.mark.parametrize("write", [jsonl, parquet, csv])
def test_every_reader_gives_the_same_ids(write: Any, tmp_path: Path) -> None:
    prepared = prepared_of(write(tmp_path))
    specs = prepared.transforms.input_specs
    assert {name: (spec.shape, spec.kind, spec.vocabulary) for name, spec in specs.items()} == {
        "genres": ((3,), "bag", 5),
        "user": ((1,), "id", 8),
        "words": ((2,), "text", 7),
    }
    content = prepared.transforms.to_dict()["inputs"]
    assert sorted(content[0]["content"]["words"]) == ["a", "b", "c"]
    given = np.array(['["c", "never", "a"]', "b|c", None, "[]"], object)
    columns = {"genres": given, "user": np.array([10**15, 3, 5, 7]), "words": np.array(["W 3"] * 4, object)}
    found = Transforms.from_dict(prepared.transforms.to_dict()).apply(columns)
    place = {word: number for number, word in enumerate(content[0]["content"]["words"], 2)}
    assert found["genres"].tolist() == [
        [place["c"], 1, place["a"]],
        [place["b"], place["c"], 0],
        [0] * 3,
        [0] * 3,
    ]
    assert found["user"].tolist() == [[1], [0], [0], [0]]


def test_streamed_rows_have_the_same_transforms(tmp_path: Path) -> None:
    path = jsonl(tmp_path)
    data = StreamedData(path, None, INPUTS, ["y"], {}, "classification", None, 1 << 30, tmp_path, str)
    streamed = prepare_streamed(data)
    whole = prepared_of(path)
    kinds = [(entry["name"], entry["encoder"]) for entry in streamed.transforms.to_dict()["inputs"]]
    assert kinds == [(entry["name"], entry["encoder"]) for entry in whole.transforms.to_dict()["inputs"]]
    assert streamed.transforms.input_specs == whole.transforms.input_specs


def test_hashed_ids_keep_no_list_and_know_all(tmp_path: Path) -> None:
    inputs = ({"name": "genres", "kind": "ids", "hashed": 50}, {"name": "user", "kind": "id", "hashed": 9})
    transforms = prepared_of(jsonl(tmp_path), *inputs).transforms
    assert {name: spec.vocabulary for name, spec in transforms.input_specs.items()} == {
        "genres": 52,
        "user": 10,
    }
    assert "10000" not in json.dumps(transforms.to_dict())
    columns = {"genres": np.array(["never|a|a"], object), "user": np.array([99])}
    found = Transforms.from_dict(transforms.to_dict()).apply(columns)
    never, first, second = found["genres"][0].tolist()
    assert first == second != never and min(never, first) >= 2
    assert 1 <= found["user"][0, 0] <= 9 and transforms.unseen(columns) == {"user": 0}
    as_text = {"genres": columns["genres"], "user": np.array(["99"], object)}
    assert transforms.apply(as_text)["user"].tolist() == found["user"].tolist()
    absent = {"genres": columns["genres"], "user": np.array([np.nan])}
    assert transforms.apply(absent)["user"].tolist() == [[0]]


def test_hashes_are_the_same_everywhere() -> None:
    assert [hashed(word, 1000) for word in ("a", "7", "æøå 水", "")] == [928, 255, 110, 756]
    counts = np.bincount([hashed(str(number), 100) for number in range(20_000)], minlength=100)
    assert counts.min() > 130 and counts.max() < 270  # 200 each, five deviations


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "ids", "hashed": 5, "vocabulary": 3}, "hashed: 5 and vocabulary: 3; expected one of both"),
        ({"kind": "id", "hashed": 5, "missing": "own"}, "hashed: 5 and missing: own"),
        ({"kind": "text", "hashed": 5}, "is text and has hashed; expected them only for id or ids"),
        ({"kind": "ids", "missing": "own"}, "has missing: own"),
    ],
)
def test_options_that_do_not_fit_are_told(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("g,y\n" + "".join(f"a|{row},{row % 2}\n" for row in range(20)))
    with pytest.raises(SchemaError, match=said):
        prepared_of(path, {"name": "g", **entry})


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (["a", None], "ids", "line 21: 'g' is a list with null in it; expected texts or whole numbers"),
        ([1.5], "tokens", "is a list with 1.5 in it"),
        (["a"], None, "state {name: g, kind: tokens}, or ids"),
    ],
)
def test_what_is_no_list_of_items_is_told(value: Any, kind: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [{"g": ["a"], "y": row % 2} for row in range(20)] + [{"g": value, "y": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(FormatError, match=said):
        prepared_of(path, {"name": "g", **({"kind": kind} if kind else {})})
