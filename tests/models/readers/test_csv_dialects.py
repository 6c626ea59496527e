"""CSV as people and programs write it: each file gives the same rows, and what was found out is told."""

import gzip

import numpy as np
import pytest

from tests.models.reading import written
from tidegate.models import readers
from tidegate.models.data.columns import concat
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import CsvOptions, ReadOptions
from tidegate.models.errors import FormatError, SourceError

PLAIN = "Größe,Preis,Ort\n1,1234.5,Köln\n2,0.25,Bonn\n3,-18.14,Köln\n"
COMMA = "Größe;Preis;Ort\n1;1234,5;Köln\n2;0,25;Bonn\n3;-18,14;Köln\n"
DOTS = "Größe;Preis;Ort\n1;1.234,5;Köln\n2;0,25;Bonn\n3;-18,14;Köln\n"
QUOTED = 'Größe,Preis,Ort\n1,"1,234.5",Köln\n2,0.25,Bonn\n3,-18.14,Köln\n'

# Of each file its content, and words of each sentence that is told.
DIALECTS = {
    "plain": (PLAIN.encode(), []),
    "windows lines": (PLAIN.replace("\n", "\r\n").encode(), []),
    "byte order mark": (PLAIN.encode("utf-8-sig"), []),
    "spaces behind commas": (PLAIN.replace(",", ", ").encode(), []),
    "excel of europe": (COMMA.encode("utf-8-sig"), ["delimiter ';'; decimal ',' in Preis; data.csv"]),
    "thousands": (DOTS.encode(), ["delimiter ';'; decimal ',', thousands '.' in Preis"]),
    "thousands of america": (QUOTED.encode(), ["decimal '.', thousands ',' in Preis"]),
    "thousands of switzerland": (COMMA.replace("1234,5", "1'234,5").encode(), ["thousands \"'\""]),
    "thousands of france": (COMMA.replace("1234,5", "1\u202f234,5").encode(), ["thousands ' '"]),
    "tabs": (PLAIN.replace(",", "\t").encode(), ["delimiter '\\t'"]),
    "pipes": (PLAIN.replace(",", "|").encode(), ["delimiter '|'"]),
    "sep line": (b"sep=;\r\n" + COMMA.encode(), ["delimiter ';'"]),
    "single quotes": (PLAIN.replace("Köln", "'Köln'").encode(), ["quote \"'\""]),
    "utf-16": (PLAIN.encode("utf-16"), ["encoding utf-16"]),
    "utf-16 without mark": (PLAIN.encode("utf-16-le"), ["encoding utf-16-le"]),
    "windows-1252": (COMMA.encode("cp1252"), ["read as cp1252 (Western European)", "decimal ','"]),
    "commas in the header": (
        COMMA.replace("Preis;", '"Preis, netto";').encode(), ["delimiter ';'"]
    ),
}  # fmt: skip


def read(path, columns=None, by_contract=False, kinds=None, **csv):
    options = ReadOptions(kinds or {}, CsvOptions.of(csv), by_contract)
    with recorded() as told:
        return concat(list(readers.read(path, "csv", columns, options=options))), told


@pytest.mark.parametrize("end", ["csv", "csv.gz"])
@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_rows_and_is_told(tmp_path, name, end):
    content, words = DIALECTS[name]
    packed = gzip.compress(content, mtime=0) if end == "csv.gz" else content
    found, told = read(written(tmp_path, f"d.{end}", packed))
    size, price, city = found.values()
    assert (size.dtype, size.tolist()) == (np.int64, [1, 2, 3])
    assert price.tolist() == [1234.5, 0.25, -18.14]
    assert city.tolist() == ["Köln", "Bonn", "Köln"]
    assert len(told) == len(words), told
    for sentence, part in zip(told, words, strict=True):
        assert part in sentence


def test_what_is_stated_is_used_and_not_told(tmp_path):
    path = written(tmp_path, "d.csv", DOTS.encode("cp1252"))
    found, told = read(path, delimiter=";", decimal=",", thousands=".", encoding="cp1252")
    assert (found["Preis"].tolist(), told) == ([1234.5, 0.25, -18.14], [])
    with pytest.raises(FormatError, match=r"'Preis' holds numbers that no one format fits.*correct data.csv"):
        read(path, decimal=".", encoding="cp1252")
    with pytest.raises(
        SourceError, match=r"data.csv is stated and d.jsonl is jsonl; expected it only for CSV"
    ):
        list(readers.read(tmp_path / "d.jsonl", "jsonl", options=ReadOptions(csv=CsvOptions(decimal=","))))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_file_in_another_encoding_than_the_stated_one(encoding, tmp_path):
    path = written(tmp_path, "d.csv", "город,b\nМосква,1\n".encode("cp1251"))
    with pytest.raises(
        FormatError, match=rf"not in the encoding {encoding}.*set it to what .* such as .*cp1251"
    ):
        read(path, encoding=encoding)


# Numbers that can be read in two ways: the cells of one column, what else is in the file, the numbers, what is told.
AMBIGUOUS = {
    "thousand or one": ("a\n1.234\n5.678\n", [1.234, 5.678], "1.234 are read as 1.234, but could be 1234"),
    "in a file of semicolons": (
        "a;b\n1,234;x\n5,678;y\n",
        [1.234, 5.678],
        "read as 1.234, but could be 1234",
    ),
    "in a file of commas": ('a,b\n"1,234",x\n"5,678",y\n', [1234, 5678], "read as 1234, but could be 1.234"),
    "another column shows a comma": ("a;b\n1.234;0,5\n5.678;1,5\n", [1234, 5678], "thousands '.' in a"),
    "another column shows a point": ("a;b\n1.234;0.5\n5.678;1.5\n", [1.234, 5.678], None),
    "a number begins with zero": ("a\n0.567\n1.234\n", [0.567, 1.234], None),
    "a number has four digits": ("a\n1234.567\n1.234\n", [1234.567, 1.234], None),
    "a number has two marks": ("a;b\n1.234.567;x\n1.234;y\n", [1234567, 1234], "thousands '.' in a"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_number_that_can_be_read_in_two_ways_is_told(tmp_path, name):
    content, numbers, words = AMBIGUOUS[name]
    found, told = read(written(tmp_path, "d.csv", content))
    assert found["a"].tolist() == numbers
    assert any(words in sentence for sentence in told) if words else not any("'a'" in one for one in told)


# A cell of a file to predict: alone, and what a row beside it may not change.
@pytest.mark.parametrize(
    ("first", "second"),
    [("1.234", "1.5"), ("1.234", "1,5"), ("1.234", "1.234.567"), ("1,234", "0,5"), ("1,234", "1,234.5")],
)
def test_a_row_to_predict_means_the_same_beside_any_other(tmp_path, first, second):
    found = set()
    for rows in ([first], [first, second], [second, first]):
        path = written(tmp_path, "d.csv", "a;b\n" + "".join(f"{row};x\n" for row in rows))
        try:
            column = read(path, ["a"], by_contract=True, kinds={"a": "numeric"})[0]["a"]
            found.add(float(column[rows.index(first)]))
        except FormatError as error:
            assert "can be read in two ways" in str(error)
    assert len(found) <= 1


def test_missing_values_have_many_names(tmp_path):
    names = [
        "NA",
        "N/A",
        "#N/A",
        "NULL",
        "null",
        "None",
        "n/a",
        "nan",
        "?",
        "-",
        "<NA>",
        "\\N",
        "#DIV/0!",
        "",
    ]
    path = written(tmp_path, "d.csv", "a,b\n1.5,x\n" + "".join(f"{name},y\n" for name in names))
    found, told = read(path)
    assert (found["a"][0], np.isnan(found["a"][1:]).sum()) == (1.5, len(names))
    assert "column 'a': 'NA' (1), 'N/A' (1)" in told[0]
    assert f"of {len(names) + 1} cells are read as missing" in told[0]
    told = read(written(tmp_path, "e.csv", "a,b\n1.5,x\n#DIV/0!,y\n"))[1]
    assert "'#DIV/0!' (1) of 2 cells" in told[0]
    assert np.isnan(read(tmp_path / "e.csv", missing=["#DIV/0!"])[0]["a"][1])


def test_a_missing_value_among_texts_is_told_and_can_be_stated(tmp_path):
    path = written(tmp_path, "d.csv", "a,b\nx,-999\nNA,3\ny,4\n")
    found, told = read(path)
    assert found["a"].tolist() == ["x", "NA", "y"]
    assert "'NA' (1) of 3 cells are kept as texts like any other" in told[0]
    found, told = read(path, missing=["NA", "-999"])
    assert (found["a"].tolist(), told) == (["x", None, "y"], [])
    np.testing.assert_array_equal(found["b"], [np.nan, 3, 4])


CELLS = {
    "codes": (["00501", "10001"], ["00501", "10001"], "codes with leading zeros, such as '00501'"),
    "fractions with zeros": (["00.5", "10"], [0.5, 10.0], None),
    "booleans": (["True", "False", ""], ["True", "False", None], None),
    "booleans of two programs": (
        ["True", "false", "TRUE"],
        ["true", "false", "true"],
        "read as the same two",
    ),
    "long numbers": ([str(2**53 + 1), ""], [str(2**53 + 1), None], "would lose digits"),
    "few other texts": (["1", "2", "4+", "3"], ["1", "2", "4+", "3"], "1 of 4 cells are none, such as '4+'"),
    "texts": (["a", "b", "7", "c", "d"], ["a", "b", "7", "c", "d"], None),
    "infinite": (["1.5", "inf"], [1.5, float("inf")], ""),
    "scientific": (["1e-3", "2E5"], [0.001, 200000.0], None),
}


@pytest.mark.parametrize("name", CELLS)
def test_what_cells_become(tmp_path, name):
    cells, expected, words = CELLS[name]
    found, told = read(written(tmp_path, "d.csv", "a,b\n" + "".join(f"{cell},1\n" for cell in cells)))
    assert found["a"].tolist() == expected
    assert bool(told) == bool(words)
    assert not words or words in told[0]


def test_numbers_with_a_few_other_texts_are_refused(tmp_path):
    rows = "".join(f"{number}.5\n" for number in range(99))
    with pytest.raises(FormatError, match=r"'a' holds numbers, and 1 of 100 cells are none, such as '12 kg'"):
        read(written(tmp_path, "d.csv", f"a\n{rows}12 kg\n"))
    with pytest.raises(FormatError, match=r"'a' holds '12 kg' in row 100, and 1 of 100 cells are no numbers"):
        read(tmp_path / "d.csv", kinds={"a": "numeric"})
    assert read(tmp_path / "d.csv", kinds={"a": "categorical"})[0]["a"][0] == "0.5"


def test_types_are_those_of_all_files(tmp_path):
    for name, content in {"1.csv": "a,b\n10001,1.50\n", "2.csv": "b;a\n1,50;00501\n2,25;7\n"}.items():
        written(tmp_path, name, content)
    options = ReadOptions()
    with recorded() as told, pytest.raises(FormatError, match="'b' holds numbers that no one format fits"):
        list(readers.read(tmp_path, "csv", options=options))
    written(tmp_path, "2.csv", "b;a\n1.50;00501\n2.25;7\n")
    found, told = read(tmp_path)
    assert found["a"].tolist() == ["10001", "00501", "7"]
    assert found["b"].tolist() == [1.5, 1.5, 2.25]
    assert any("delimiter ';'" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Привет,b\nмир,1\n".encode("cp1251"), "not UTF-8 text, and not Western European"),
        ("a,b\nüber,1\n".encode("cp850"), "not UTF-8 text, and not Western European"),
        (
            "a,b\nüber,1\nKöln,".encode() + b"\xfc\n",
            "is UTF-8 text with bytes that are none, the first in line 3",
        ),
        (b"a,b\n\x00\x01\x02,1\n", "is not text; expected CSV"),
    ],
)
def test_text_of_another_alphabet_is_refused_and_can_be_stated(tmp_path, content, message):
    with pytest.raises(FormatError, match=message):
        read(written(tmp_path, "d.csv", content))


def test_columns_that_are_not_wanted_are_not_read(tmp_path):
    path = written(tmp_path, "d.csv", ",a,a,b\n0,x,y,1\n")
    assert read(path, ["b"])[0]["b"].tolist() == [1]
    with pytest.raises(FormatError, match=r"has no name.*state data.inputs"):
        read(path)
    found, told = read(written(tmp_path, "d.csv", "Unnamed: 0,b\n7,1\n3,2\n"))
    assert list(found) == ["b"]
    assert "Unnamed: 0: the index of a pandas table" in told[0]
