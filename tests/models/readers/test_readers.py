import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.models.reading import read, written
from tidegate.models import readers
from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import FormatError, SchemaError, SourceError
from tidegate.models.readers import csv as csv_reader

# --- csv ---------------------------------------------------------------------------------------------------

CSV = 'age, price,city,note\n30,1.5,Bern,"a, b"\n\n41,,, \n-2,nan,Chur,7\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", CSV.encode()),
        ("d.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("bom.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("d.tsv", CSV.replace('"a, b"', "a; b").replace(",", "\t").encode()),
        ("windows.csv", CSV.replace("\n", "\r\n").encode()),
    ],
)
def test_csv_columns_have_the_type_that_all_cells_have(tmp_path, name, content):
    found = read(written(tmp_path, name, content), "csv")
    assert list(found) == ["age", "price", "city", "note"]
    assert (found["age"].dtype, found["age"].tolist()) == (np.int64, [30, 41, -2])
    np.testing.assert_array_equal(found["price"], [1.5, np.nan, np.nan])
    assert found["city"].tolist() == ["Bern", None, "Chur"]
    assert found["note"].tolist()[1:] == [None, "7"]


def test_csv_types_hold_over_all_chunks(tmp_path):
    rows = "".join(f"{n},{n % 9},{n}\n" for n in range(csv_reader.ROWS + 1))
    path = written(tmp_path, "d.csv", f"a,b,c\n{rows}1.5,x,\n")
    with recorded() as told:
        chunks = list(readers.read(path, "csv", ["b", "a", "c"]))
    assert "'b' holds numbers, and 1 of 50002 cells are none, such as 'x'" in told[0]
    assert len(chunks) == 2
    assert [list(chunk) for chunk in chunks] == [["b", "a", "c"]] * 2
    assert {chunk["a"].dtype.name for chunk in chunks} == {"float64"}
    assert chunks[0]["b"][7] == "7"
    assert np.isnan(chunks[1]["c"][-1])


def test_csv_numbers_beyond_64_bits_and_with_underscores(tmp_path):
    with recorded() as told:
        (found,) = readers.read(written(tmp_path, "d.csv", f"a,b\n{2**63},1_0\n1,2\n"), "csv")
    assert (found["a"].tolist(), found["b"].tolist()) == ([str(2**63), "1"], ["1_0", "2"])
    assert "'a': whole numbers up to 9223372036854775808 would lose digits" in told[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"d.csv is empty \(0 bytes\); expected rows in csv"),
        ("a,b\n", "has a header line and no rows; expected at least one"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells; expected 2, as in the header line; correct"),
        ('a,b\n1,"x\ny"\n3,4,5\n', "line 4 has 3 cells"),
        ('a,b\n1,"x\n', "line 2: unexpected end of data; expected cells separated by ','"),
        ("a,b,a\n1,2,3\n", "has 'a' twice; expected distinct names; rename"),
        (",a\n0,1\n", "column 1 of the header line has no name.*without an index"),
        (b"a,b\n\x81\xfe,1\n", r"not UTF-8 text, and not Western European \(cp1252\) either; expected UTF-8"),
        (b"\0\1\2\0", "is not text; expected CSV"),
    ],
)
def test_csv_that_is_no_table_is_told(tmp_path, content, message):
    with pytest.raises(FormatError, match=message):
        read(written(tmp_path, "d.csv", content), "csv")


def test_an_unknown_column_names_the_nearest(tmp_path):
    path = written(tmp_path, "d.csv", "city,age\nBern,3\n")
    with pytest.raises(SchemaError, match=r"'agee' is not a column.*city, age; did you mean 'age'"):
        read(path, "csv", ["city", "agee"])


@pytest.mark.parametrize(
    "content", [b"plain,text\n1,2\n", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-9]]
)
def test_broken_gzip_is_told(tmp_path, content):
    with pytest.raises(FormatError, match="not a complete gzip file"):
        read(written(tmp_path, "d.csv.gz", content), "csv")


# --- jsonl -------------------------------------------------------------------------------------------------


def test_jsonl_types(tmp_path):
    rows = [
        {"n": 1, "f": 1, "s": "a", "b": True, "m": False, "v": [[1, 2], [3, 4]], "empty": None},
        {"n": 2, "f": 2.5, "s": None, "b": False, "m": None, "v": None},
    ]
    path = written(tmp_path, "d.jsonl", "\n\n".join(map(json.dumps, rows)))
    found = read(path, "jsonl")
    assert list(found) == ["n", "f", "s", "b", "m", "v", "empty"]
    assert [column.dtype.kind for column in found.values()] == ["i", "f", "O", "b", "O", "f", "f"]
    assert (found["s"].tolist(), found["m"].tolist()) == (["a", None], ["false", None])
    assert found["v"].shape == (2, 2, 2)
    assert np.isnan(found["v"][1]).all()
    assert list(read(path, "jsonl", ["v", "n"])) == ["v", "n"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n\n", "has no rows; expected one JSON object per line"),
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON: Expecting value.*correct the line"),
        ("[1, 2]\n", "line 1 holds a list; expected an object"),
        ("null\n", "line 1 holds null; expected an object"),
        ('{"a": 1}\n{"a": "x"}\n', "line 2: 'a' is a string; expected a number, as in the lines before"),
        ('{"a": {"b": 1}}\n', "line 1: 'a' is an object; expected a number, string or list.*flatten"),
        (
            '{"a": [[1, 2]]}\n\n{"a": [[1]]}\n',
            r"line 3: 'a' has shape \(1, 1\); expected \(1, 2\).*pad or crop",
        ),
        ('{"a": [[1], [1, 2]]}\n', "line 1: 'a' is not a regular list of numbers"),
        ('{"a": ["x"]}\n', "line 1: 'a' is not a regular list of numbers"),
        (b"\x80\x04\x95", "not UTF-8 text"),
    ],
)
def test_jsonl_with_a_bad_line_names_it(tmp_path, content, message):
    with pytest.raises(FormatError, match=message):
        read(written(tmp_path, "d.jsonl", content), "jsonl")


# --- all ---------------------------------------------------------------------------------------------------


def test_every_format_has_a_reader_and_none_is_unknown_to_sources():
    from tidegate.models.data.sources import FORMATS

    assert list(readers.READERS) == list(FORMATS)


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(SourceError, match=r"data.format is 'jsonlines'.*did you mean 'jsonl'"):
        read(tmp_path, "jsonlines")


def test_a_folder_without_files_is_told(tmp_path):
    with pytest.raises(SourceError, match="is empty; expected files in the format csv"):
        read(tmp_path, "csv")


def test_what_cannot_be_read_is_told():
    # Root may read every file, so the operating system's refusal is raised here as it would come.
    expected = pytest.raises(
        SourceError, match=r"d.csv cannot be read: Permission denied.*check its permissions"
    )
    with expected, readers.readable(Path("d.csv")):
        raise PermissionError(13, "Permission denied")


def test_a_text_of_a_megabyte_is_read_whole(tmp_path):
    text = "good bad " * (1_000_000 // 9)
    table = written(tmp_path, "t.csv", f"note,y\n{text},1\nshort,0\n")
    lines = written(
        tmp_path, "t.jsonl", "".join(json.dumps({"note": note, "y": 1}) + "\n" for note in (text, ""))
    )
    assert read(table, "csv")["note"].tolist() == [text, "short"]
    assert read(lines, "jsonl")["note"].tolist()[0] == text
