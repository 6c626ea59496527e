"""What is found out while data is read reaches the schema, in memory and streamed alike."""

import json

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from tests.models.reading import written
from tidegate.models.errors import FormatError, SchemaError
from tidegate.models.preprocessing.look import look
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed

ROWS = 60


def excel(path):
    rows = "".join(f"{n % 2};1.{n:03},5;{'NA' if n % 9 == 0 else f'{n},25'};Köln\n" for n in range(ROWS))
    return written(path, "d.csv", ("y;Preis;Fläche;Ort\n" + rows).encode("utf-8-sig"))


def ragged(path):
    rows = [{"y": n % 2, "x": [1.5] * (n % 3 + 1)} for n in range(ROWS)]
    return written(path, "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def ids(path):
    numbers = pyarrow.array([None if n % 7 == 0 else 2**60 + n % 4 for n in range(ROWS)], pyarrow.int64())
    pyarrow.parquet.write_table(
        pyarrow.table({"x": numbers, "y": [n % 2 for n in range(ROWS)]}), path / "d.parquet"
    )
    return path / "d.parquet"


def ids_of_their_own_number(path):
    lines = [json.dumps({"x": [1 + row % 9] * (1 + row % 3), "y": row % 2}) for row in range(60)]
    (path / "d.jsonl").write_text("\n".join(lines))
    return path / "d.jsonl"


def indexed(path):
    frame = pandas.DataFrame({"x": np.arange(ROWS) % 7, "y": np.arange(ROWS) % 2})
    frame.sample(frac=1.0, random_state=1).to_parquet(path / "d.parquet")
    return path / "d.parquet"


# The file, the kind of each input, and words of what is told.
FILES = {
    "excel": (
        excel,
        {"Preis": "numeric", "Fläche": "numeric", "Ort": "categorical"},
        [
            "'NA' (7) of 60 cells are read as missing",
            "delimiter ';'; decimal ',', thousands '.' in Preis; decimal ',' in Fläche",
        ],
    ),
    "lists of their own lengths": (
        ragged,
        {"x": "sequence"},
        ["lists of 1 to 3 numbers are read as sequences"],
    ),
    "ids beside null": (ids, {"x": "categorical"}, ["would lose digits as numbers"]),
    "an index": (indexed, {"x": "numeric"}, ["__index_level_0__: the index of a pandas table, left out"]),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_what_is_found_out_is_used_and_told(tmp_path, name, streamed):
    make, kinds, words = FILES[name]
    source = make(tmp_path)
    if streamed:
        (tmp_path / "work").mkdir()
        data = StreamedData(
            source=source,
            format=None,
            inputs=None,
            target=["y"],
            split={},
            task="classification",
            sample_rate=None,
            memory=1 << 30,
            folder=tmp_path / "work",
            keep=lambda path: path,
        )
        prepared = prepare_streamed(data)
    else:
        prepared = prepare(source=source, target=["y"], task="classification")
    assert not any(entry["why"] == "stated" for entry in prepared.summary["columns"])
    assert {field.name: field.kind for field in prepared.schema.inputs} == kinds
    told = prepared.summary["warnings"]
    for part in words:
        assert sum(part in sentence for sentence in told) == 1, told


def test_what_is_stated_of_the_dialect_is_used(tmp_path):
    path = excel(tmp_path)
    prepared = prepare(source=path, target=["y"], csv={"delimiter": ";", "decimal": ",", "missing": ["NA"]})
    assert not any("data.csv" in sentence for sentence in prepared.summary["warnings"])
    with pytest.raises(FormatError, match="no one format fits"):
        prepare(source=path, target=["y"], csv={"decimal": "."})


def test_a_column_of_another_type_that_is_no_input_is_not_read(tmp_path):
    table = {"x": [1.5, 2.5] * 20, "y": ["a", "b"] * 20, "odd": [{"a": 1}] * 40}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "d.parquet")
    rows = ({name: column[n] for name, column in table.items()} for n in range(40))
    written(tmp_path, "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for name in ("d.parquet", "d.jsonl"):
        with pytest.raises(FormatError, match="'odd'"):
            prepare(source=tmp_path / name, target=["y"])
        assert len(prepare(source=tmp_path / name, inputs=[{"name": "x"}], target=["y"]).schema.inputs) == 1


def test_a_look_tells_what_prepare_refuses(tmp_path):
    rows = "".join(f"{n}.5,{n % 2}\n" for n in range(99))
    path = written(tmp_path, "d.csv", f"x,y\n{rows}12 kg,1\n")
    with pytest.raises(FormatError, match="such as '12 kg'; expected numbers"):
        prepare(source=path, target=["y"])
    assert any("such as '12 kg'; expected numbers" in sentence for sentence in look(source=path).warnings)


def test_lists_of_ids_of_their_own_lengths_are_filled_up_and_that_is_told(tmp_path):
    source = ids_of_their_own_number(tmp_path)
    prepared = prepare(source=source, inputs=[{"name": "x", "kind": "id"}], target=["y"])
    told = prepared.summary["warnings"]
    assert any("lists of 1 to 3 ids are filled up at the end" in sentence for sentence in told), told
    assert not any("sequence" in sentence for sentence in told)


def test_a_look_counts_rows_without_a_target_and_refuses_data_that_has_none(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("x,y,z\n" + "".join(f"{row},{row % 2 if row > 2 else ''},\n" for row in range(60)))
    found = look(source=path, target=["y"])
    assert (found.rows, found.dropped) == (57, 3)
    with pytest.raises(SchemaError, match="target z has no value in any of 60 rows"):
        look(source=path, target=["z"])


@pytest.mark.parametrize("kind", [None, "numeric"])
def test_large_whole_numbers_are_told(tmp_path, kind):
    path = written(tmp_path, "d.csv", "x,y\n" + "".join(f"{2**60 + n % 9},{n % 2}\n" for n in range(ROWS)))
    told = prepare(source=path, inputs=[{"name": "x", "kind": kind}], target=["y"]).summary["warnings"]
    assert any("'x' holds whole numbers up to 1152921504606846" in sentence for sentence in told)


def test_whole_numbers_beyond_int64_are_prepared(tmp_path):
    numbers = pyarrow.array([2**63 + n % 9 for n in range(ROWS)], pyarrow.uint64())
    pyarrow.parquet.write_table(
        pyarrow.table({"x": numbers, "y": [n % 2 for n in range(ROWS)]}), tmp_path / "d.parquet"
    )
    told = prepare(source=tmp_path / "d.parquet", target=["y"]).summary["warnings"]
    assert any("whose last digits are lost as numbers" in sentence for sentence in told)
