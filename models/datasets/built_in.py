"""The built-in datasets from scikit-learn, Fashion-MNIST, and the generated one.

The files of digits, wine and diabetes are read from scikit-learn's package without importing it.
"""

from __future__ import annotations

import gzip
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.data.sources import FASHION_VARIABLE, dataset_files
from tidegate.models.errors import SourceError
from tidegate.models.readers.idx import load as load_idx

WINE = (
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines",
    "proline",
)  # fmt: skip
DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def digits(files: list[Path]) -> tuple[Columns, int]:
    """`image`, uint8 `(1797, 8, 8)`, and `label`, int64."""
    table = _table(files[0], ",")
    return {
        "image": table[:, :64].reshape(-1, 8, 8).astype(np.uint8),
        "label": table[:, 64].astype(np.int64),
    }, 0


def wine(files: list[Path]) -> tuple[Columns, int]:
    """13 measurements of 178 wines, and `class`, int64."""
    table = _table(files[0], ",", header=1)
    columns: Columns = {name: table[:, place].copy() for place, name in enumerate(WINE)}
    return {**columns, "class": table[:, 13].astype(np.int64)}, 0


def diabetes(files: list[Path]) -> tuple[Columns, int]:
    """10 measurements of 442 patients, and `progression`."""
    data, target = (_table(file, None) for file in files)
    columns: Columns = {name: data[:, place].copy() for place, name in enumerate(DIABETES)}
    return {**columns, "progression": target[:, 0].copy()}, 0


def fashion_mnist(files: list[Path]) -> tuple[Columns, int]:
    """`image`, uint8 `(70000, 28, 28)`, and `label`, int64; the last 10,000 are the test rows."""
    files = files or download_fashion_mnist()
    train_images, train_labels, test_images, test_labels = (load_idx(file) for file in files)
    return {
        "image": np.concatenate([train_images, test_images]),
        "label": np.concatenate([train_labels, test_labels]).astype(np.int64),
    }, len(test_labels)


def line(files: list[Path]) -> tuple[Columns, int]:
    """y = 3x + 2 plus normal noise of standard deviation 0.5; x is evenly spaced with mean 0 and deviation 1.

    So standardising x changes almost nothing, and the learned weights can be read directly.
    """
    del files
    x = np.linspace(-np.sqrt(3), np.sqrt(3), 1000)
    noise = np.random.RandomState(7).normal(0, 0.5, len(x))  # this stream is the same in every NumPy version
    return {"x": x, "y": 3 * x + 2 + noise}, 0


def download_fashion_mnist() -> list[Path]:
    """Let Keras download the four files into its cache folder, where `dataset_files` finds them afterwards.

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
            f"dataset fashion-mnist is not on this machine and Keras could not download it: {error}; expected its "
            "four files; run `apt-get install dataset-fashion-mnist`, allow Keras' download "
            f"(storage.googleapis.com), or set {FASHION_VARIABLE} to a folder with the files"
        ) from error
    return dataset_files("fashion-mnist")


def _table(
    path: Path, separator: str | None, header: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        return np.loadtxt(stream, delimiter=separator, skiprows=header, ndmin=2)
