"""Predictions in shards on this machine: every row once, in order, to the bit as in one process; what goes wrong."""

import csv
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tidegate.pipelines.commands.prediction.predict import predict
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.sharded_prediction.document import PLAN, Manifest
from tidegate.pipelines.state.home import Home

from .conftest import Predict, joined, lines, some_rows

Offline = Callable[[Path], str]


def _write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text(lines(rows))
    elif kind == "csv":
        text = "".join(f'"a ""b""\n{row["x"]}",{row["x"]},{row["y"]}\n' for row in rows)  # lines within cells
        path.write_text(f"note,x,y\n{text}")
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)
    elif kind == "json":
        path.write_text(json.dumps({"rows": rows}))
    elif kind == "npy":
        np.save(path, np.array([[row["x"], row["y"]] for row in rows]))
    else:
        np.savez(path, x=[row["x"] for row in rows], y=[row["y"] for row in rows])
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "json", "npy", "npz"])
def test_one_file_in_shards_is_as_in_one_process(
    tmp_path: Path, shards_of: Predict, offline: Offline, kind: str
) -> None:
    path = _write(tmp_path, kind, some_rows(6500))
    answer = shards_of([str(path)], tmp_path / "out", 3)
    assert (answer["rows"], len(answer["parts"]), answer["failed"]) == (6500, 3, [])
    assert joined(tmp_path / "out") == offline(path)
    manifest = Manifest.model_validate_json((tmp_path / "out" / "_manifest.json").read_bytes())
    assert [part.rows for part in manifest.parts] == [2000, 3000, 1500]
    assert [(one.first, one.rows) for part in manifest.parts for one in part.ranges] == [
        (0, 2000),
        (2000, 3000),
        (5000, 1500),
    ]
    for part in manifest.parts:
        content = (tmp_path / "out" / part.part).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (part.sha256, part.size)
    assert (tmp_path / "out" / "_SUCCESS").read_bytes() == b""


def test_files_of_a_folder_in_their_order_with_file_and_row_in_csv(
    tmp_path: Path, shards_of: Predict
) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    counts = {"b.jsonl": 1500, "a.jsonl": 300, "deep/c.jsonl": 2200, "_SUCCESS": 1, ".hidden.jsonl": 9}
    for name, count in counts.items():
        (folder / name).write_text(lines(some_rows(count)))
    answer = shards_of([str(folder)], tmp_path / "out", 5, format="csv")
    assert answer["rows"] == 4000
    read = []
    for part in sorted((tmp_path / "out").glob("part-*-of-00005.csv")):
        head, *rows = list(csv.reader(part.read_text().splitlines()))
        assert head[:4] == ["file", "row", "label", "probability"]
        read += [(row[0], int(row[1])) for row in rows]
    files = [folder / name for name in ("a.jsonl", "b.jsonl", "deep/c.jsonl")]
    counted = {str(file): counts[file.relative_to(folder).as_posix()] for file in files}
    assert read == [(file, row) for file, count in counted.items() for row in range(count)]


def test_more_shards_than_chunks_and_patterns(tmp_path: Path, shards_of: Predict) -> None:
    for number in range(3):
        (tmp_path / f"r{number}.jsonl").write_text(lines(some_rows(10)))
    answer = shards_of([str(tmp_path / "r[12].jsonl"), str(tmp_path / "r0.jsonl")], tmp_path / "out", 9)
    assert (answer["rows"], len(answer["parts"])) == (30, 9)
    manifest = Manifest.model_validate_json((tmp_path / "out" / "_manifest.json").read_bytes())
    assert [Path(one.file).name for part in manifest.parts for one in part.ranges] == [
        "r1.jsonl",
        "r2.jsonl",
        "r0.jsonl",
    ]


def test_a_bad_row_is_told_and_the_other_shards_finish(
    tmp_path: Path, shards_of: Predict, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = some_rows(8000)
    rows[5500]["x"] = "wide"
    (tmp_path / "rows.jsonl").write_text(lines(rows))
    with pytest.raises(PipelineError) as raised:
        shards_of([str(tmp_path / "rows.jsonl")], tmp_path / "out", 4)
    (failed,) = raised.value.data["failed"]
    assert failed["shard"] == 2
    for words in (
        f"{tmp_path}/rows.jsonl: ",
        "rows 5000 to 5999",
        "'x' of row 5500: received the text \"wide\"",
    ):
        assert words in failed["message"], failed
    assert "shard 2 of 4 failed: " in capfd.readouterr().err
    there = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert there == ["_batch", *(f"part-0000{n}-of-00004.jsonl" for n in (0, 1, 3))]
    with pytest.raises(PipelineError, match="1 of 4 shards failed"):
        shards_of([str(tmp_path / "rows.jsonl")], tmp_path / "out", 4)
    assert "shard 0" not in capfd.readouterr().err  # it is not done again


def test_what_is_done_is_not_done_again_and_what_is_gone_is(
    tmp_path: Path, shards_of: Predict, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(5000)))
    command = ([str(tmp_path / "rows.jsonl")], tmp_path / "out", 5)
    first = shards_of(*command)
    whole, stamps = joined(tmp_path / "out"), _stamps(tmp_path / "out")
    again = shards_of(*command)
    assert (first["before"], again["before"]) == (0, 5)
    assert _stamps(tmp_path / "out") == stamps
    gone = "part-00003-of-00005.jsonl"
    (tmp_path / "out" / gone).write_text("cut off")
    capfd.readouterr()
    third = shards_of(*command)
    assert third["before"] == 4
    assert capfd.readouterr().err == f"shard 3 of 5: 1000 rows in {gone}\n"
    assert joined(tmp_path / "out") == whole
    assert (tmp_path / "out" / "_SUCCESS").exists()
    made = _stamps(tmp_path / "out")
    stamps |= {name: made[name] for name in ("_SUCCESS", "_manifest.json")}  # written anew
    assert {
        name: stamp for name, stamp in _stamps(tmp_path / "out").items() if name != gone
    }.items() <= stamps.items()


def _stamps(output: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(output.iterdir())
        if path.is_file()
    }


def test_changed_data_is_refused(tmp_path: Path, shards_of: Predict) -> None:
    path = tmp_path / "rows.jsonl"
    rows = some_rows(2000)
    path.write_text(lines([*rows[:-1], {"x": "wide", "y": 1}]))
    with pytest.raises(PipelineError, match="1 of 2 shards failed"):
        shards_of([str(path)], tmp_path / "out", 2)
    path.write_text(lines(rows))
    with pytest.raises(UsageError, match=r"holds another prediction: .*rows\.jsonl changed"):
        shards_of([str(path)], tmp_path / "out", 2)
    shards_of([str(path)], tmp_path / "other", 2)
    os.utime(path)  # the same content: a time alone is no change
    assert shards_of([str(path)], tmp_path / "other", 2)["before"] == 2


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other shards": ({"shards": 3}, r"shards 2 then, 3 now"),
    "other format": ({"format": "csv"}, r"format jsonl then, csv now"),
    "not empty": ({"output": "used"}, r"is not empty: it has notes\.txt"),
    "a file": ({"output": "rows.jsonl"}, r"is a file; expected a folder"),
    "no folder": ({"output": "none/out"}, r"there is no folder"),
    "no output": ({"output": None}, r"expected --input and --output"),
    "no shards": ({"shards": 0}, r"--shards is 0; expected 1 to 10000"),
    "twice": ({"source": ["rows.jsonl", "rows.jsonl"]}, r"rows\.jsonl is there twice"),
    "nothing": ({"source": ["none-*.csv"]}, r"none-\*\.csv: there is nothing"),
    "a web page": (
        {"source": ["https://example.com/rows.csv"]},
        r"expected a file, a folder, or one of s3://",
    ),
    "a dialect of no csv": (
        {"csv": ["decimal=,"], "output": "new"},
        r"--csv is given and .*rows\.jsonl is no \.csv",
    ),
    "a plan of a later version": ({"output": "later"}, r"of another version of Tidegate .*worth: Extra"),
    "within the input": ({"source": ["."], "output": "new"}, r"--output new is within --input \."),
    "within a pattern": ({"source": ["*/*.jsonl"], "output": "new"}, r"is within --input \*/"),
    "no pattern": ({"source": ["**.jsonl"], "output": "new"}, r"has \*\* beside other letters"),
    "a key": ({"key_file": "key"}, r"--key-file is given with --shards"),
    "detached here": ({"detach": True}, r"expected --target too"),
    "a release of a folder": ({"release": 1}, r"is a bundle's folder"),
    "a bucket without a folder": (
        {"output": "s3://bucket"},
        r"expected a folder or one of s3://BUCKET/PREFIX",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(
    tmp_path: Path, shards_of: Predict, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(100)))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    shards_of(["rows.jsonl"], "out", 2)
    (tmp_path / "later" / "_batch").mkdir(parents=True)
    plan = json.loads((tmp_path / "out" / PLAN).read_bytes())
    (tmp_path / "later" / PLAN).write_text(json.dumps(plan | {"worth": 1}))
    more, words = REFUSED[name]
    given: dict[str, Any] = {"source": ["rows.jsonl"], "output": "out", "shards": 2, **more}
    with pytest.raises(PipelineError, match=words):
        shards_of(given.pop("source"), given.pop("output"), given.pop("shards"), **given)
    assert sorted(path.name for path in (tmp_path / "used").iterdir()) == ["notes.txt"]
    assert not (tmp_path / "new").exists()  # so the corrected command may have it


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"release": 2}, "--release is given without --offline or --shards"),
        ({"parallel": 2}, "--parallel is given without --shards"),
    ],
)
def test_options_of_shards_alone(tmp_path: Path, given: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        predict(Home(tmp_path), "cellar", ["rows.csv"], None, None, False, **given)


def test_what_is_noticed_of_a_file_is_told_once(
    tmp_path: Path, shards_of: Predict, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "".join(f"{row['x']};{row['y']}\n".replace(".", ",") for row in some_rows(3000))
    (tmp_path / "rows.csv").write_text(f"x;y\n{text}")
    assert shards_of([str(tmp_path / "rows.csv")], tmp_path / "out", 3)["rows"] == 3000
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(told) == 1
    assert "rows.csv" in told[0]
    assert "--csv" in told[0]
    stated = shards_of([str(tmp_path / "rows.csv")], tmp_path / "stated", 3, csv=["delimiter=;", "decimal=,"])
    assert stated["rows"] == 3000
    assert "warning" not in capfd.readouterr().err
    assert joined(tmp_path / "stated") == joined(tmp_path / "out")


def test_two_at_once_of_the_same_command_leave_one_output(tmp_path: Path, shards_of: Predict) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(4000)))
    command = ([str(tmp_path / "rows.jsonl")], tmp_path / "out", 4)
    alone = shards_of(command[0], tmp_path / "alone", 4)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: shards_of(*command), range(3)))
    assert [answer["rows"] for answer in answers] == [alone["rows"]] * 3
    assert joined(tmp_path / "out") == joined(tmp_path / "alone")
