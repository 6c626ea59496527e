"""Reference answers of a trained model, as its own framework gave them: read from a file, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.datasets import load
from tidegate.models.errors import FormatError
from tidegate.models.preprocessing.schema import Target

ARRAYS = (".npy", ".npz")
TOLERANCE = 1e-4  # of a probability, and of a number as a share of the largest one


def read_answers(path: Path, name: str, target: Target) -> NDArray[np.float32]:
    """The answers, one row for each row of the data's source, in its order.

    Args:
        path: a .npy or .npz file of one array, or a table whose columns are the classes' probabilities, by name or in
            the order of the classes, or the numbers predicted.
        name: of the file, for messages.
        target: what the model predicts.

    Returns:
        float32 `(rows, classes)`, or `(rows, values)`; of two classes the probability of the second one is enough.

    Raises:
        FormatError: it holds something else.
        DataError: it cannot be read.
    """
    read = _array(path, name) if path.suffix in ARRAYS else _table(path, name, target)
    found = np.asarray(read.reshape(len(read), -1), np.float32)
    width = len(target.classes) or len(target.names)
    if len(target.classes) == 2 and found.shape[1] == 1:
        found = np.concatenate([1 - found, found], axis=1)
    if found.shape[1] != width or not np.isfinite(found).all():
        raise FormatError(
            f"{name} holds {found.shape[1]} numbers a row; expected {width} finite ones, "
            f"{'the probabilities of the classes' if target.classes else 'the values predicted'}; write what the model "
            "answered for each row of the data"
        )
    return found


def require_answers(
    answers: NDArray[np.float32],
    predicted: NDArray[np.float32],
    places: NDArray[np.int64],
    name: str,
) -> float:
    """Refuse a model that answers otherwise; return the largest difference.

    Args:
        answers: of all rows of the source, from `read_answers`.
        predicted: by the model here, `(n, width)`.
        places: of these rows in the source, `(n,)`.
        name: of the file, for messages.

    Raises:
        FormatError: names the worst row, and how far its answers are apart.
    """
    expected = answers[places]
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)))
    apart = np.abs(predicted.astype(np.float64) - expected)
    worst = int(apart.max(axis=1).argmax())
    if not apart[worst].max() <= allowed:
        place = int(apart[worst].argmax())
        wrong = int((apart.max(axis=1) > allowed).sum())
        raise FormatError(
            f"the model is not the one that gave {name}: in {wrong} of {len(places)} rows it answers otherwise; in row "
            f"{places[worst]}, counted from 0, {predicted[worst, place]:.6g} where the file has "
            f"{expected[worst, place]:.6g}, {apart[worst].max():.3g} apart; allowed is {allowed:.3g}; export the model "
            "again, or give the answers of this one"
        )
    return float(apart.max(initial=0.0))


def require_rows(answers: NDArray[np.float32], rows: int, name: str) -> None:
    """Refuse answers of another number of rows than the source has."""
    if len(answers) != rows:
        raise FormatError(
            f"{name} holds answers to {len(answers)} rows, and the data has {rows}; expected one for each row of the "
            "data, in its order; write them again"
        )


def _array(path: Path, name: str) -> NDArray[Any]:
    try:
        content = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise FormatError(f"{name} is no array of numbers: {error}; expected one of NumPy") from error
    if isinstance(content, np.ndarray):
        return np.asarray(content)
    with content:
        if len(content.files) != 1:
            raise FormatError(
                f"{name} holds the arrays {', '.join(content.files)}; expected one; write the answers alone"
            )
        found: NDArray[Any] = content[content.files[0]]
    return found


def _table(path: Path, name: str, target: Target) -> NDArray[Any]:
    columns = load(source=path)
    texts = next((column for column, values in columns.items() if values.dtype == object), None)
    if texts is not None:
        raise FormatError(f"{name}: column {texts!r} holds texts; expected numbers; remove it")
    classes = [str(one) for one in target.classes]
    named = [column for one in classes for column in columns if column in (one, f"probability_{one}")]
    order = named if len(named) == len(classes) == len(columns) else list(columns)
    return np.stack([np.asarray(columns[one], np.float64) for one in order], axis=1)
