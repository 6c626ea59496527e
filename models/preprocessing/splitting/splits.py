"""Split rows into training, validation and test, by what a row holds and not by where it stands.

A number drawn from each row's content and the seed (`row_identity.share_of`) decides its part. So the part stays the
same when rows are added, removed or reordered, and copies of a row are together. There are two ways:

- From LARGE rows on, a row whose number is below the test fraction is a test row, and so on. A part's share is then
  what chance makes of it: with n rows a fraction p deviates by the square root of p (1 - p) / n, for p = 0.2 by 0.9 %
  of the rows at 2,000 rows and by 0.13 % at 100,000; so it is for the rows of each class.
- Below that, each class is divided exactly, the rows with the lowest numbers first. When the data grows to twice its
  size, about the square root of a class's rows changes the part.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, pack, rows_of
from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.group_split import by_group, group_folds
from tidegate.models.preprocessing.splitting.row_identity import identify, share_of
from tidegate.models.preprocessing.target.encode_target import encode_target

Rows = NDArray[np.int64]
Shares = NDArray[np.float64]

LARGE = 2000
PARTS, ORDER, FOLDS, FOLD_PARTS = "parts", "order", "folds", "parts of a fold"  # purposes of `share_of`


def hold_out(
    schema: Schema, columns: Columns, fraction: float, seed: int, groups: Digests | None = None
) -> tuple[Rows, Rows]:
    """Row numbers of a training part and of a held-out part, drawn as the parts of all rows are.

    Args:
        schema, columns: the rows.
        fraction: of the rows, that are held out.
        seed: of the part.
        groups: a digest of each row's group; rows of one are in one part.

    Raises:
        SplitError: too few rows, or groups.
    """
    classes, units = classes_of(schema, columns), identify(schema, columns).unit
    rows = np.arange(len(classes))
    if groups is not None:
        kept, held = by_group(rows, groups, classes, {"validation": fraction}, seed)
        return kept, held["validation"]
    kept, held = divide_rows(rows, classes, units, {"validation": fraction}, seed, FOLD_PARTS)
    return kept, held["validation"]


def fold_rows(
    schema: Schema, columns: Columns, folds: int, seed: int, groups: Digests | None = None
) -> list[tuple[Rows, Rows]]:
    """For each fold the row numbers of all other folds and of the fold itself; every row is in one fold.

    A row's fold is drawn from its content, as its part is in `divide_rows`, or its group's is by their order.

    Raises:
        SplitError: fewer than two rows per fold, or a class with one row, which would not be in the training rows;
            fewer groups than folds, or a class in one group.
    """
    classes = classes_of(schema, columns)
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
    if groups is not None:
        fold_of = group_folds(groups, folds, seed)
        if not _in_two_folds(classes, fold_of, folds):
            raise SplitError(
                f"a class is in one of the {folds} folds of groups alone; expected each in two, so that it is learned; "
                "lower data.split.folds, or leave it out"
            )
    else:
        shares = share_of(identify(schema, columns).unit, FOLDS, seed)
        fold_of = (shares * folds).astype(np.int64)
        if len(classes) < LARGE or not _in_two_folds(classes, fold_of, folds):
            fold_of = _folds_by_rank(classes, shares, folds)
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)]


def _in_two_folds(classes: Rows, fold_of: Rows, folds: int) -> bool:
    """Whether each class is in two folds, and each fold has rows."""
    found = np.zeros((int(classes.max()) + 1, folds), np.bool_)
    found[classes, fold_of] = True
    several = found.sum(axis=1)[np.unique(classes)] > 1
    return bool(several.all() and found.any(axis=0).all())


def _folds_by_rank(classes: Rows, shares: Shares, folds: int) -> Rows:
    """Each class in `folds` equal pieces of the rows ordered by their numbers; copies stay in one where they can."""
    order = np.lexsort((shares, classes))
    ordered, number = classes[order], shares[order]
    starts, ends = np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")
    first = _first_copies(ordered, number)
    whole = number[starts] == number[ends - 1]  # a class of copies of one row
    rank = np.where(whole, np.arange(len(order)), first) - starts
    fold_of = np.empty(len(order), np.int64)
    fold_of[order] = (rank * folds // (ends - starts) + ordered) % folds
    return fold_of


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


def check_fractions(validation: float, test: float | None) -> None:
    """Raises SplitError for fractions out of range; `test` is None where test rows are given."""
    if not (validation >= 0 and (test is None or test > 0) and validation + (test or 0) < 1):
        raise SplitError(
            f"data.split is validation {validation} and test {test}; expected validation of at least "
            "0, test above 0 and a sum below 1, so that rows are left for training; "
            "set for example {validation: 0.1, test: 0.2}"
        )


def check_learnable(schema: Schema, training: Rows, held: Rows, part: str) -> None:
    """Refuse a class that only held-out rows have; raises SplitError."""
    unseen = np.setdiff1d(held, training)
    if len(unseen):
        names = ", ".join(repr(schema.target.classes[place]) for place in unseen[:5].tolist())
        raise SplitError(
            f"class {names} is only in the {part} rows and cannot be learned; expected each class among the training "
            "rows too; leave those rows out, or move some to the training rows"
        )


def classes_of(schema: Schema, columns: Columns) -> Rows:
    """The class of each row, by its place; 0 without classes."""
    if schema.target.task != "classification":
        return np.zeros(rows_of(columns), np.int64)
    return np.asarray(encode_target(schema, columns), np.int64)


def divide_rows(
    rows: Rows, classes: Rows, units: Digests, fractions: dict[str, float], seed: int, purpose: str
) -> tuple[Rows, dict[str, Rows]]:
    """The training rows and each fraction of the rows, in a seeded order.

    Raises:
        SplitError: too few rows for the fractions.
    """
    shares = share_of(units[rows], purpose, seed)
    order = np.lexsort((shares, classes[rows]))
    ordered, number, kind = rows[order], shares[order], classes[rows][order]
    part = _parts_by_share(number, kind, fractions) if len(rows) >= LARGE else None
    if part is None:
        part = _parts_by_rank(number, kind, fractions)
    late = np.argsort(share_of(units[ordered], ORDER, seed), kind="stable")
    ordered, part = ordered[late], part[late]
    held = {name: ordered[part == place] for place, name in enumerate(fractions, 1)}
    return ordered[part == 0], held


def _parts_by_share(shares: Shares, classes: Rows, fractions: dict[str, float]) -> Rows | None:
    """The part of each row, 0 for training; None if a part would be empty.

    A class that has no training row gets the one with the highest number.
    """
    edges = np.cumsum(list(fractions.values()))
    part = (np.searchsorted(edges, shares, "right") + 1) % (len(fractions) + 1)
    lasts = np.searchsorted(classes, classes, "right") - 1
    learned = np.zeros(int(classes[-1]) + 1, np.bool_)
    learned[classes[part == 0]] = True
    part[~learned[classes] & (shares == shares[lasts])] = 0
    asked = [place for place, fraction in enumerate(fractions.values(), 1) if fraction > 0]
    return part if np.isin([0, *asked], part).all() else None


def _parts_by_rank(shares: Shares, classes: Rows, fractions: dict[str, float]) -> Rows:
    """The part of each row, 0 for training: of each class the rows with the lowest numbers, without its last ones."""
    part = np.zeros(len(shares), np.int64)
    lasts = np.searchsorted(classes, classes, "right") - 1
    pool = np.flatnonzero(shares != shares[lasts])
    for place, (name, fraction) in enumerate(fractions.items(), 1):
        count = max(1, round(fraction * len(shares))) if fraction > 0 else 0
        if count > len(pool):
            raise SplitError(
                f"{len(shares)} rows in {len(np.unique(classes))} classes are too few for a {name} fraction of "
                f"{fraction}, because each class keeps a row for training; expected more rows; add some, or lower "
                "data.split"
            )
        chosen = _lowest(shares[pool], classes[pool], count)
        part[pool[chosen]] = place
        pool = pool[~chosen]
    return part


def _lowest(shares: Shares, classes: Rows, count: int) -> NDArray[np.bool_]:
    """Which rows to take so that each class gives its share of `count`; with a row all its copies are taken."""
    starts, ends = np.searchsorted(classes, classes, "left"), np.searchsorted(classes, classes, "right")
    total = max(1, len(shares))
    wanted = ends * count // total - starts * count // total
    return _first_copies(classes, shares) - starts < wanted


def _first_copies(classes: Rows, shares: Shares) -> Rows:
    """The place of the first of equal rows, for rows ordered by class and number."""
    new = np.append(True, (classes[1:] != classes[:-1]) | (shares[1:] != shares[:-1]))[: len(shares)]
    return np.maximum.accumulate(np.where(new, np.arange(len(shares)), 0))
