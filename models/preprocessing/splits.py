"""Split rows into training, validation and test: seeded, stratified, and with a fingerprint."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, pack, rows_of
from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import encode_target

Rows = NDArray[np.int64]


def split(
    schema: Schema,
    columns: Columns,
    validation: float,
    test: float,
    seed: int,
    fixed_test: NDArray[np.integer] | None = None,
) -> dict[str, Rows]:
    """Row numbers of "train", "validation" and "test", each in a seeded order.

    In a classification each class is divided among the three in proportion, but its first row is always a training row,
    so that every class is learned; a class with one row is in training only.

    Args:
        validation, test: fractions of all rows; validation may be 0, test may not.
        fixed_test: rows of a published test split `(k,)`; then `test` is ignored and `validation` is a fraction of the
            other rows.

    Raises:
        SplitError: fractions out of range, too few rows for them, or a class that only a published test split has.
    """
    check_fractions(validation, test)
    generator = np.random.default_rng(seed)
    classes = _classes(schema, columns)
    if fixed_test is not None:
        kept = np.setdiff1d(np.arange(rows_of(columns)), fixed_test)
        _check_learnable(schema, classes[kept], classes[fixed_test])
        train, held = _divide(kept, classes, {"validation": validation}, generator)
        return {"train": train, "validation": held["validation"], "test": fixed_test.astype(np.int64)}
    fractions = {"test": test, "validation": validation}
    train, held = _divide(np.arange(rows_of(columns)), classes, fractions, generator)
    return {"train": train, "validation": held["validation"], "test": held["test"]}


def hold_out(schema: Schema, columns: Columns, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Row numbers of a training part and of a held-out part, stratified as in `split`.

    Raises:
        SplitError: too few rows.
    """
    classes = _classes(schema, columns)
    rows, generator = np.arange(len(classes)), np.random.default_rng(seed)
    kept, held = _divide(rows, classes, {"validation": fraction}, generator)
    return kept, held["validation"]


def fold_rows(schema: Schema, columns: Columns, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """For each fold the row numbers of all other folds and of the fold itself; every row is in one fold.

    In a classification each class is divided among the folds in proportion.

    Raises:
        SplitError: fewer than two rows per fold, or a class with one row, which would not be in the training rows.
    """
    classes = _classes(schema, columns)
    if len(classes) < 2 * folds:
        raise SplitError(
            f"data.split.folds is {folds} and there are {len(classes)} rows besides the test rows; expected at least "
            "two per fold; lower folds, or add rows"
        )
    counts = np.bincount(classes)
    if 1 in counts:
        name = schema.target.classes[int(np.flatnonzero(counts == 1)[0])]
        raise SplitError(
            f"class {name!r} has one row besides the test rows; expected two with data.split.folds, so that each fold "
            "has the class among its training rows; add rows of it, or leave folds out"
        )
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    ordered = shuffled[np.argsort(classes[shuffled], kind="stable")]
    fold_of = np.empty(len(classes), np.int64)
    fold_of[ordered] = np.arange(len(classes)) % folds
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)]


def fingerprint(columns: Columns) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and values; the order of the columns does not matter."""
    whole = hashlib.sha256()
    for name in sorted(columns):
        column = columns[name]
        parts = pack(column) if column.dtype == object else {"values": column}
        for part, array in parts.items():
            whole.update(f"{name!r} {part} {array.dtype.str} {array.shape}\n".encode())
            whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def check_fractions(validation: float, test: float) -> None:
    """Raises SplitError for fractions out of range."""
    if not (validation >= 0 and test > 0 and validation + test < 1):
        raise SplitError(
            f"data.split is validation {validation} and test {test}; expected validation of at least "
            "0, test above 0 and a sum below 1, so that rows are left for training; "
            "set for example {validation: 0.1, test: 0.2}"
        )


def _check_learnable(schema: Schema, training: Rows, test: Rows) -> None:
    unseen = np.setdiff1d(test, training)
    if len(unseen):
        names = ", ".join(repr(schema.target.classes[place]) for place in unseen[:5].tolist())
        raise SplitError(
            f"class {names} is only in the published test rows and cannot be learned; expected each class among the "
            "training rows too; leave those rows out, or move some to the training rows"
        )


def _classes(schema: Schema, columns: Columns) -> Rows:
    if schema.target.task != "classification":
        return np.zeros(rows_of(columns), np.int64)
    return np.asarray(encode_target(schema, columns), np.int64)


def _divide(
    rows: Rows, classes: Rows, fractions: dict[str, float], generator: np.random.Generator
) -> tuple[Rows, dict[str, Rows]]:
    """Take each fraction evenly from the rows sorted by class, without the first row of each class."""
    shuffled = generator.permutation(rows)
    ordered = shuffled[np.argsort(classes[shuffled], kind="stable")]
    _, firsts = np.unique(classes[ordered], return_index=True)
    pool = np.delete(ordered, firsts)
    held: dict[str, Rows] = {}
    for name, fraction in fractions.items():
        count = max(1, round(fraction * len(rows))) if fraction > 0 else 0
        if count > len(pool):
            raise SplitError(
                f"{len(rows)} rows in {len(firsts)} classes are too few for a {name} fraction of {fraction}, because "
                "each class keeps a row for training; expected more rows; add some, or lower data.split"
            )
        marks = np.arange(len(pool) + 1) * count // max(len(pool), 1)
        chosen = marks[1:] > marks[:-1]
        held[name] = generator.permutation(pool[chosen])
        pool = pool[~chosen]
    return generator.permutation(np.concatenate([ordered[firsts], pool])), held
