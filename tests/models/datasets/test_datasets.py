import subprocess
import sys

import numpy as np
import pytest

from tests.models.imports import imported_by
from tidegate.models.data.sources import (
    DATASET_NAMES,
    FASHION_FILES,
    FASHION_VARIABLE,
    guess_format,
    source_digest,
)
from tidegate.models.datasets import DATASETS, load, load_dataset
from tidegate.models.errors import SchemaError, SourceError


@pytest.fixture
def fashion(tmp_path, write_idx, monkeypatch):
    """Four small files where the variable says that fashion-mnist is."""
    generator = np.random.default_rng(0)
    for name, rows in zip(FASHION_FILES, (60, 60, 20, 20), strict=True):
        shape = (rows, 28, 28) if "images" in name else (rows,)
        write_idx(tmp_path / name, generator.integers(0, 10, shape, np.uint8))
    monkeypatch.setenv(FASHION_VARIABLE, str(tmp_path))
    return tmp_path


def test_digits():
    columns = load(dataset="digits")
    assert (columns["image"].shape, columns["image"].dtype, columns["image"].max()) == (
        (1797, 8, 8),
        np.uint8,
        16,
    )
    assert np.bincount(columns["label"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_wine():
    columns = load(dataset="wine")
    assert len(columns) == 14
    assert (columns["alcohol"][0], columns["proline"][0]) == (14.23, 1065)
    assert np.bincount(columns["class"]).tolist() == [59, 71, 48]


def test_diabetes():
    columns = load(dataset="diabetes")
    assert len(columns) == 11
    assert (columns["age"][0], columns["s6"][0], columns["progression"][0]) == (59, 87, 151)
    assert len(columns["bmi"]) == 442


def test_the_line_is_the_same_everywhere_and_needs_no_standardising():
    columns = load(dataset="line")
    assert (len(columns["x"]), columns["y"][0], columns["y"][-1]) == (
        1000,
        pytest.approx(-2.35089, abs=1e-5),
        pytest.approx(6.85743, abs=1e-5),
    )
    assert (columns["x"].mean(), columns["x"].std()) == pytest.approx((0, 1), abs=2e-3)
    np.testing.assert_allclose(np.polyfit(columns["x"], columns["y"], 1), [3, 2], atol=0.05)
    assert source_digest(dataset="line") != source_digest(dataset="digits")


def test_built_in_rows_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    np.testing.assert_array_equal(load(dataset="digits")["image"], sklearn.load_digits().images)
    wine = sklearn.load_wine()
    assert [name.split("/")[0] for name in load(dataset="wine")][:-1] == [
        name.split("/")[0] for name in wine.feature_names
    ]
    np.testing.assert_array_equal(
        load(dataset="diabetes")["bmi"], sklearn.load_diabetes(scaled=False).data[:, 2]
    )


def test_preparing_digits_imports_nothing_heavy():
    heavy = ("sklearn", "scipy", "pandas", "pyarrow", "keras", "PIL")
    assert (
        imported_by(
            "from tidegate.models.preprocessing.prepare import prepare; prepare(dataset='digits')", heavy
        )
        == []
    )


def test_a_digest_needs_the_standard_library_only():
    code = "from tidegate.models.data.sources import source_digest; source_digest(dataset='digits')"
    assert imported_by(code, ("numpy", "pydantic", "sklearn")) == []


@pytest.mark.usefixtures("fashion")
def test_fashion_mnist_brings_its_test_rows_last():
    columns, published = load_dataset("fashion-mnist")
    assert (columns["image"].shape, len(columns["label"]), published) == ((80, 28, 28), 80, 20)


def test_fashion_mnist_at_a_wrong_place_is_told(fashion):
    (fashion / FASHION_FILES[3]).unlink()
    with pytest.raises(
        SourceError, match=f"{FASHION_VARIABLE} is .*expected a folder with train-images.*unset"
    ):
        load(dataset="fashion-mnist")


def test_fashion_mnist_that_nobody_can_give_names_all_ways(tmp_path):
    # A keras package that fails as the real one does without a network, and an empty home.
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "__init__.py").touch()
    (tmp_path / "keras" / "datasets" / "__init__.py").touch()
    broken = "def load_data():\n    raise Exception('URL fetch failure')\n"
    (tmp_path / "keras" / "datasets" / "fashion_mnist.py").write_text(broken)
    code = (
        "from tidegate.models.datasets.built_in import download_fashion_mnist\n"
        "from tidegate.models.errors import SourceError\n"
        "try: download_fashion_mnist()\n"
        "except SourceError as error: print(error)"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:.", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    for part in (
        "URL fetch failure",
        "apt-get install dataset-fashion-mnist",
        "Keras' download",
        FASHION_VARIABLE,
    ):
        assert part in done.stdout


def test_the_tables_of_names_agree():
    assert tuple(DATASETS) == DATASET_NAMES


def test_a_digest_follows_the_content_and_not_the_place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "cat").mkdir(parents=True)
        (tmp_path / name / "cat" / "1.png").write_bytes(b"pixels")
    digest = source_digest(source=tmp_path / "a")
    assert digest == source_digest(source=str(tmp_path / "b"))
    (tmp_path / "b" / "cat").rename(tmp_path / "b" / "dog")
    assert digest != source_digest(source=tmp_path / "b")
    (tmp_path / "a" / "cat" / "1.png").write_bytes(b"other")
    assert digest != source_digest(source=tmp_path / "a")


def test_a_digest_of_idx_images_covers_their_labels(tmp_path):
    (tmp_path / "images-idx3-ubyte").write_bytes(b"1")
    (tmp_path / "labels-idx1-ubyte").write_bytes(b"2")
    digest = source_digest(source=tmp_path / "images-idx3-ubyte")
    (tmp_path / "labels-idx1-ubyte").write_bytes(b"3")
    assert digest != source_digest(source=tmp_path / "images-idx3-ubyte")


@pytest.mark.usefixtures("fashion")
def test_a_digest_of_fashion_mnist_follows_the_variable_only(monkeypatch):
    stated = source_digest(dataset="fashion-mnist")
    monkeypatch.delenv(FASHION_VARIABLE)
    assert source_digest(dataset="fashion-mnist") != stated


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d.npz", "npz"),
        ("D.CSV", "csv"),
        ("d.csv.gz", "csv"),
        ("d.parquet", "parquet"),
        ("d.jsonl", "jsonl"),
        ("train-images-idx3-ubyte", "idx"),
        ("train-images-idx3-ubyte.gz", "idx"),
    ],
)
def test_the_suffix_tells_the_format(tmp_path, name, expected):
    assert guess_format(tmp_path / name) == expected


def test_a_folder_tells_its_format(tmp_path):
    with pytest.raises(SourceError, match=r"the format of .* is unknown.*set data.format: one of npz, csv"):
        guess_format(tmp_path)
    (tmp_path / "cat").mkdir()
    assert guess_format(tmp_path) == "image_folder"
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    assert guess_format(tmp_path) == "idx"


def test_load_guesses_reads_and_selects(tmp_path):
    (tmp_path / "rows.txt").write_text("a,b\n1,2\n")
    assert load(source=tmp_path / "rows.txt", format="csv", columns=["b"])["b"].tolist() == [2]
    with pytest.raises(SourceError, match=r"the format of .*rows.txt is unknown"):
        load(source=tmp_path / "rows.txt")
    with pytest.raises(SchemaError, match="'c' is not a column"):
        load(source=tmp_path / "rows.txt", format="csv", columns=["c"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("leter.csv", "leter.csv does not exist; expected a file or folder .did you mean 'letter.csv'"),
        ("no/letter.csv", "the folder .*no is not there either"),
        (None, "no data is given; expected data.source or data.dataset"),
    ],
)
def test_a_source_that_is_not_there_is_told(tmp_path, source, message):
    (tmp_path / "letter.csv").touch()
    with pytest.raises(SourceError, match=message):
        load(source=source and tmp_path / source)


def test_a_source_in_s3_is_told():
    with pytest.raises(
        SourceError, match=r"s3://bucket/d.csv; expected a file or folder on this machine.*copy"
    ):
        source_digest(source="s3://bucket/d.csv")


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(
        SourceError, match=r"data.dataset is 'digit'; expected one of digits, .*did you mean 'digits'"
    ):
        load(dataset="digit")


def test_the_debian_package_is_the_full_set(monkeypatch):
    """`make test` installs it; the published split of 60,000 and 10,000, all classes alike."""
    monkeypatch.delenv("TIDEGATE_FASHION_MNIST", raising=False)
    columns, published = load_dataset("fashion-mnist")
    assert columns["image"].shape == (70_000, 28, 28)
    assert columns["image"].dtype == np.uint8
    assert published == 10_000
    assert np.bincount(columns["label"]).tolist() == [7_000] * 10
