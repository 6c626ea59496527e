import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.models.reading import read, written
from tidegate.models.errors import FormatError, SchemaError, SourceError

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
        ({"x": np.zeros(3), "y": np.zeros(2)}, "different lengths: x 3, y 2; expected one entry per row"),
        ({"x": np.zeros(3), "seed": np.array(7)}, "'seed' is a single value; expected one entry per row"),
        (
            {"x": np.zeros(3, complex)},
            "'x' has dtype complex128; expected numbers, booleans, strings or dates",
        ),
    ],
)
def test_npz_that_is_no_table_is_told(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "d.npz", "npz")


def test_what_is_no_npz_is_told(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(
        FormatError, match=r"is a single array \(.npy\); expected an .npz file; .*numpy.savez"
    ):
        read(tmp_path / "one.npy", "npz")
    with pytest.raises(FormatError, match=r"is something else; expected an .npz file"):
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
    with pytest.raises(FormatError, match="is not a Parquet file"):
        read(written(tmp_path, "d.parquet", b"PAR1 and more"), "parquet")
    with pytest.raises(FormatError, match="has no rows"):
        read(write_parquet(tmp_path / "d.parquet", a=[]), "parquet")
    with pytest.raises(FormatError, match="'a' holds lists of different lengths"):
        read(write_parquet(tmp_path / "d.parquet", a=[[[1], [2]], [[1, 2], [3, 4]]]), "parquet")
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
    with pytest.raises(SourceError, match=r"has no labels file; expected .*labels-idx1-ubyte next to it"):
        read(images, "idx")
    labels = write_idx(tmp_path / "labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(SourceError, match="expected an images file, such as"):
        read(labels, "idx")
    with pytest.raises(FormatError, match="has 3 images and its labels file 2 labels"):
        read(images, "idx")
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(
        FormatError, match=r"has 27 bytes, so it is cut off or damaged; expected 28 for shape \(3, 2, 2\)"
    ):
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
    with pytest.raises(FormatError, match="has no folders in it; expected one per class"):
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
