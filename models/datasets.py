"""The built-in datasets, and `load`: rows from a built-in or from a source.

The files of digits, wine and diabetes are read out of scikit-learn's package without importing it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from sys import stderr

import numpy as np

from models.columns import Columns, concat
from models.errors import SourceError
from models.readers import read, readable
from models.readers.idx import load as load_idx
from models.sources import FASHION_VARIABLE, check_format, dataset_files, existing, guess_format

WINE = (
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines",
    "proline",
)  # fmt: skip
DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


@dataclass(frozen=True)
class Dataset:
    """A built-in: its target, its task, and its rows with the number of last rows that are its test split."""

    target: str
    task: str
    rows: Callable[[], tuple[Columns, int]]


def load(
    *,
    dataset: str | None = None,
    source: str | Path | None = None,
    format: str | None = None,
    columns: Sequence[str] | None = None,
) -> Columns:
    """All rows of a built-in dataset or of a source, column-wise.

    Args:
        dataset: the name of a built-in; else `source`, a file or folder, is read.
        format: a key of `models.readers.READERS`; None guesses it from the suffix.
        columns: the columns wanted; None means all.

    Raises:
        SourceError: nothing there, not readable, or no reader for it.
        FormatError: the content is not what the format promises.
        SchemaError: a column of `columns` is not there.
    """
    if dataset is not None:
        return load_dataset(dataset)[0]
    path = existing(source)
    name = check_format(format) if format else guess_format(path)
    return concat(list(read(path, name, columns)))


def load_dataset(name: str) -> tuple[Columns, int]:
    """A built-in's columns, and how many of its last rows are its published test split (0: none).

    Raises:
        SourceError: an unknown name, or its files are not here.
    """
    files = dataset_files(name)
    if files:
        with readable(files[0]):
            return DATASETS[name].rows()
    return DATASETS[name].rows()


def _digits() -> tuple[Columns, int]:
    table = _table(dataset_files("digits")[0], ",")
    return {
        "image": table[:, :64].reshape(-1, 8, 8).astype(np.uint8),
        "label": table[:, 64].astype(np.int64),
    }, 0


def _wine() -> tuple[Columns, int]:
    table = _table(dataset_files("wine")[0], ",", header=1)
    columns: Columns = {name: table[:, place].copy() for place, name in enumerate(WINE)}
    return {**columns, "class": table[:, 13].astype(np.int64)}, 0


def _diabetes() -> tuple[Columns, int]:
    data, target = (_table(file, None) for file in dataset_files("diabetes"))
    columns: Columns = {name: data[:, place].copy() for place, name in enumerate(DIABETES)}
    return {**columns, "progression": target[:, 0].copy()}, 0


def _fashion_mnist() -> tuple[Columns, int]:
    files = dataset_files("fashion-mnist") or download_fashion_mnist()
    train_images, train_labels, test_images, test_labels = (load_idx(file) for file in files)
    return {
        "image": np.concatenate([train_images, test_images]),
        "label": np.concatenate([train_labels, test_labels]).astype(np.int64),
    }, len(test_labels)


def _line() -> tuple[Columns, int]:
    """y = 3x + 2 and normal noise of deviation 0.5; x evenly over an interval whose mean is 0 and deviation 1.

    So standardising x changes next to nothing, and the weights learned can be read as they are.
    """
    x = np.linspace(-np.sqrt(3), np.sqrt(3), 1000)
    noise = np.random.RandomState(7).normal(0, 0.5, len(x))  # a stream that no version of NumPy changes
    return {"x": x, "y": 3 * x + 2 + noise}, 0


def download_fashion_mnist() -> list[Path]:
    """Let Keras download the four files into its own folder, where they are found from then on.

    Raises:
        SourceError: Keras is not installed or the download failed; names all ways to get the files.
    """
    try:
        from keras.datasets import fashion_mnist

        with redirect_stdout(stderr):
            fashion_mnist.load_data()
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise SourceError(
            f"dataset fashion-mnist is not here and Keras could not download it: {error}; expected its four "
            "files; run `apt-get install dataset-fashion-mnist`, allow Keras' download "
            f"(storage.googleapis.com), or set {FASHION_VARIABLE} to a folder that has them"
        ) from error
    return dataset_files("fashion-mnist")


def _table(
    path: Path, separator: str | None, header: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        return np.loadtxt(stream, delimiter=separator, skiprows=header, ndmin=2)


DATASETS: dict[str, Dataset] = {
    "digits": Dataset("label", "classification", _digits),
    "wine": Dataset("class", "classification", _wine),
    "diabetes": Dataset("progression", "regression", _diabetes),
    "fashion-mnist": Dataset("label", "classification", _fashion_mnist),
    "line": Dataset("y", "regression", _line),
}
