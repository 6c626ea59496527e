import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import readers
from models.columns import concat
from models.errors import FormatError, SchemaError, SourceError
from models.readers import csv as csv_reader


def read(path, name, columns=None):
    return concat(list(readers.read(path, name, columns)))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- csv ---------------------------------------------------------------------------------------------------

CSV = 'age, price,city,note\n30,1.5,Bern,"a, b"\n\n41,,, \n-2,nan,Chur,7\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", CSV.encode()),
        ("d.csv.gz", gzip.compress(CSV.encode())),
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
    rows = "".join(f"{n},{n},{n}\n" for n in range(csv_reader.ROWS + 1))
    chunks = list(readers.read(written(tmp_path, "d.csv", f"a,b,c\n{rows}1.5,x,\n"), "csv", ["b", "a", "c"]))
    assert len(chunks) == 2
    assert [list(chunk) for chunk in chunks] == [["b", "a", "c"]] * 2
    assert {chunk["a"].dtype.name for chunk in chunks} == {"float64"}
    assert chunks[0]["b"][7] == "7"
    assert np.isnan(chunks[1]["c"][-1])


def test_csv_numbers_beyond_64_bits_and_with_underscores(tmp_path):
    found = read(written(tmp_path, "d.csv", f"a,b\n{2**63},1_0\n1,2\n"), "csv")
    assert (found["a"].dtype, found["b"].tolist()) == (np.float64, ["1_0", "2"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"d.csv is empty \(0 bytes\); expected rows in csv"),
        ("a,b\n", "has a header line and no rows; expected at least one"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells; expected 2, as in the header line; correct"),
        ('a,b\n1,"x\ny"\n3,4,5\n', "line 4: 3 cells"),
        ('a,b\n1,"x\n', "line 2: unexpected end of data; expected cells separated by ','"),
        ("a,b,a\n1,2,3\n", "has 'a' twice; expected distinct names; rename"),
        (",a\n0,1\n", "column 1 of the header line has no name.*without an index"),
        (b"a,b\n\xff\xfe,1\n", "not text in UTF-8: invalid start byte at byte 4; expected UTF-8"),
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


@pytest.mark.parametrize("content", [b"plain,text\n1,2\n", gzip.compress(b"a,b\n" + b"1,2\n" * 99)[:-9]])
def test_broken_gzip_is_told(tmp_path, content):
    with pytest.raises(FormatError, match="not a whole gzip file"):
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
        ("\n\n", "has no rows; expected one JSON object a line"),
        ('{"a": 1}\n{"a": \n', "line 2: not JSON: Expecting value.*correct the line"),
        ("[1, 2]\n", "line 1: holds a list; expected an object"),
        ("null\n", "line 1: holds null; expected an object"),
        ('{"a": 1}\n{"a": "x"}\n', "line 2: 'a' is a string; expected a number, as in the lines before"),
        ('{"a": {"b": 1}}\n', "line 1: 'a' is an object; expected a number, string or list.*flatten"),
        ('{"a": [1, 2]}\n\n{"a": [1]}\n', r"line 3: 'a' has shape \(1,\); expected \(2,\).*pad or crop"),
        ('{"a": [[1], [1, 2]]}\n', "line 1: 'a' is not a list of numbers of one length"),
        ('{"a": ["x"]}\n', "line 1: 'a' is not a list of numbers"),
        ('{"a": 99999999999999999999}\n', "'a' holds a number beyond 64 bits"),
        (b"\x80\x04\x95", "not text in UTF-8"),
    ],
)
def test_jsonl_with_a_bad_line_names_it(tmp_path, content, message):
    with pytest.raises(FormatError, match=message):
        read(written(tmp_path, "d.jsonl", content), "jsonl")


# --- npz ---------------------------------------------------------------------------------------------------


def test_npz_strings_become_objects_and_byte_order_native(tmp_path):
    np.savez(
        tmp_path / "d.npz", s=["Zürich", "b"], raw=[b"a", b"b"], x=np.array([1, 2], ">i4"), b=[True, False]
    )
    found = read(tmp_path / "d.npz", "npz")
    assert found["s"].tolist() == ["Zürich", "b"]
    assert found["raw"].tolist() == ["a", "b"]
    assert (found["x"].dtype, found["b"].dtype) == (np.int32, np.bool_)
    assert list(read(tmp_path / "d.npz", "npz", ["x"])) == ["x"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([{}, 1], object)}, "'x' holds pickled Python objects.*refused.*without objects"),
        ({"x": np.zeros(3), "y": np.zeros(2)}, "different lengths: x 3, y 2; expected one entry a row"),
        ({"x": np.zeros(3), "seed": np.array(7)}, "'seed' is a single value; expected one entry a row"),
        ({"x": np.zeros(3, complex)}, "'x' has dtype complex128; expected numbers, booleans or strings"),
    ],
)
def test_npz_that_is_no_table_is_told(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "d.npz", "npz")


def test_what_is_no_npz_is_told(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(FormatError, match=r"no .npz file but a single array \(.npy\).*numpy.savez"):
        read(tmp_path / "one.npy", "npz")
    with pytest.raises(FormatError, match=r"no .npz file but something else"):
        read(written(tmp_path, "pickle.npz", b"\x80\x04\x95."), "npz")


def test_a_damaged_npz_is_told(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(1000))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[500] ^= 255
    with pytest.raises(FormatError, match="is damaged: Bad CRC-32"):
        read(written(tmp_path, "d.npz", bytes(content)), "npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("x.npy", "no array")
    with pytest.raises(FormatError, match="'x'"):
        read(tmp_path / "text.npz", "npz")


# --- parquet -----------------------------------------------------------------------------------------------


def write_parquet(path, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_types(tmp_path):
    import pyarrow

    path = write_parquet(
        tmp_path / "d.parquet",
        i=[1, 2, 3],
        n=[1, None, 3],
        s=["a", None, "c"],
        c=pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        b=[True, None, False],
        v=[[1.0, 2.0], None, [3.0, 4.0]],
        empty=pyarrow.nulls(3),
    )
    found = read(path, "parquet")
    assert found["i"].dtype == np.int64
    np.testing.assert_array_equal(found["n"], [1, np.nan, 3])
    assert found["s"].tolist() == ["a", None, "c"]
    assert found["c"].tolist() == ["x", "y", "x"]
    assert found["b"].tolist() == ["true", None, "false"]
    np.testing.assert_array_equal(found["v"], [[1, 2], [np.nan, np.nan], [3, 4]])
    assert np.isnan(found["empty"]).all()
    assert list(read(path, "parquet", ["s", "i"])) == ["s", "i"]


def test_parquet_that_is_no_table_is_told(tmp_path):
    with pytest.raises(FormatError, match="is no Parquet file"):
        read(written(tmp_path, "d.parquet", b"PAR1 and more"), "parquet")
    with pytest.raises(FormatError, match="has no rows"):
        read(write_parquet(tmp_path / "d.parquet", a=[]), "parquet")
    with pytest.raises(FormatError, match="'a' holds lists of different lengths"):
        read(write_parquet(tmp_path / "d.parquet", a=[[1], [1, 2]]), "parquet")
    with pytest.raises(FormatError, match="'a' has type struct"):
        read(write_parquet(tmp_path / "d.parquet", a=[{"b": 1}]), "parquet")
    with pytest.raises(SchemaError, match="'aa' is not a column"):
        read(write_parquet(tmp_path / "d.parquet", a=[1]), "parquet", ["aa"])


# --- idx ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_reads_a_pair_or_a_folder_of_pairs(tmp_path, write_idx, end):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    for part in ("t10k", "train"):
        images = write_idx(tmp_path / f"{part}-images-idx3-ubyte{end}", pixels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{end}", np.array([0, 1, 2], np.uint8))
    found = read(images, "idx")
    np.testing.assert_array_equal(found["image"], pixels)
    assert (found["label"].dtype, found["label"].tolist()) == (np.int64, [0, 1, 2])
    assert len(read(tmp_path, "idx", ["label"])["label"]) == 6


def test_idx_that_is_damaged_or_alone_is_told(tmp_path, write_idx):
    images = write_idx(tmp_path / "images-idx3-ubyte", np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(SourceError, match=r"has no labels file; expected .*labels-idx1-ubyte beside it"):
        read(images, "idx")
    labels = write_idx(tmp_path / "labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(SourceError, match="expected an images file, such as"):
        read(labels, "idx")
    with pytest.raises(FormatError, match="has 3 images and its labels file 2 labels"):
        read(images, "idx")
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"has 27 bytes; expected 28 for shape \(3, 2, 2\): it is cut off"):
        read(images, "idx")
    with pytest.raises(FormatError, match="begins with 89 50 4e 47; expected an IDX file's two zero bytes"):
        read(written(tmp_path, "images-idx3-ubyte", b"\x89PNG"), "idx")
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="has no images file"):
        read(tmp_path / "none", "idx")


# --- image_folder ------------------------------------------------------------------------------------------


def save_image(path, mode, size, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def test_image_folder_brings_all_images_to_the_first_ones_size(tmp_path):
    save_image(tmp_path / "cat" / "1.png", "RGB", (4, 3), (255, 0, 0))
    save_image(tmp_path / "dog" / "1.jpg", "L", (8, 8), 100)
    save_image(tmp_path / "dog" / "2.gif", "P", (4, 3), 0)
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    found = read(tmp_path, "image_folder")
    assert (found["image"].shape, found["image"].dtype) == ((3, 3, 4, 3), np.uint8)
    assert found["image"][0, 0, 0].tolist() == [255, 0, 0]
    assert found["label"].tolist() == ["cat", "dog", "dog"]


def test_image_folder_of_gray_images_has_no_channels(tmp_path):
    for label in "ab":
        save_image(tmp_path / label / "1.png", "L", (4, 3), 9)
    assert read(tmp_path, "image_folder")["image"].shape == (2, 3, 4)


def test_image_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(FormatError, match="has no folders in it; expected one a class"):
        read(tmp_path, "image_folder")
    save_image(tmp_path / "cat" / "1.png", "L", (2, 2), 0)
    with pytest.raises(SourceError, match="is a file; expected a folder"):
        read(tmp_path / "cat" / "1.png", "image_folder")
    (tmp_path / "dog").mkdir()
    with pytest.raises(FormatError, match=r"class folder .*dog has no images"):
        read(tmp_path, "image_folder")
    whole = (tmp_path / "cat" / "1.png").read_bytes()
    (tmp_path / "dog" / "torn.png").write_bytes(whole[:40])
    with pytest.raises(FormatError, match=r"image .*torn.png cannot be read.*replace or remove it"):
        read(tmp_path, "image_folder")


# --- all ---------------------------------------------------------------------------------------------------


def test_every_format_has_a_reader_and_none_is_unknown_to_sources():
    from models.sources import FORMATS

    assert list(readers.READERS) == list(FORMATS)


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(SourceError, match=r"data.format is 'jsonlines'.*did you mean 'jsonl'"):
        read(tmp_path, "jsonlines")


def test_a_folder_where_a_file_is_expected_is_told(tmp_path):
    with pytest.raises(SourceError, match="is a folder; expected a file"):
        read(tmp_path, "csv")


def test_what_cannot_be_read_is_told():
    # Root may read every file, so the operating system's refusal is raised here as it would come.
    expected = pytest.raises(
        SourceError, match=r"d.csv cannot be read: Permission denied.*check its permissions"
    )
    with expected, readers.readable(Path("d.csv")):
        raise PermissionError(13, "Permission denied")
