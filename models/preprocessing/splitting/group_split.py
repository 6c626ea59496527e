"""Split rows by their groups, such as customers or patients: a group is never in two parts.

A number drawn from the group and the seed orders the groups. With many groups it decides the part by itself, so that a
group keeps its part when others are added; with few the rows of the groups before it do, so that the parts have about
the sizes asked for.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import share_of

Rows = NDArray[np.int64]

MANY = 2000  # groups
PURPOSE, FOLDS = "groups", "folds of groups"  # of `share_of`


def by_group(
    rows: Rows, groups: Digests, classes: Rows, fractions: dict[str, float], seed: int
) -> tuple[Rows, dict[str, Rows]]:
    """The training rows, and the rows of each fraction.

    Each class has a training row, if one of its groups can be spared.

    Args:
        rows: row numbers `(n,)`.
        groups, classes: of these rows.
        fractions: by part, the share of the rows, about which the groups of a part have.
        seed: of the order of the groups.

    Raises:
        SplitError: too few groups for the parts.
    """
    of, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    asked = [number for number, share in enumerate(fractions.values(), 1) if share > 0]
    if len(of) <= len(asked):
        raise _too_few(len(of), len(asked) + 1)
    shares = share_of(of, PURPOSE, seed)
    part = _parts(shares, sizes, list(fractions.values()), len(of) >= MANY)
    _fill(part, shares, asked)
    _learn(part, shares, place, classes, asked)
    chosen = part[place]
    held = {name: rows[chosen == number] for number, name in enumerate(fractions, 1)}
    return rows[chosen == 0], held


def group_folds(groups: Digests, folds: int, seed: int) -> Rows:
    """The fold of each row: groups in a drawn order, each into the fold with the fewest rows so far.

    Raises:
        SplitError: fewer groups than folds.
    """
    of, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(of) < folds:
        raise _too_few(len(of), folds)
    fold_of, heap = np.zeros(len(of), np.int64), [(0, fold) for fold in range(folds)]
    for group in np.argsort(share_of(of, FOLDS, seed), kind="stable").tolist():
        rows, fold = heapq.heappop(heap)
        fold_of[group] = fold
        heapq.heappush(heap, (rows + int(sizes[group]), fold))
    return np.asarray(fold_of[place], np.int64)


def _parts(shares: NDArray[np.float64], sizes: Rows, fractions: list[float], many: bool) -> Rows:
    """The part of each group, 0 for training."""
    position = shares
    if not many:
        order = np.argsort(shares, kind="stable")
        position = np.empty(len(shares))
        position[order] = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    return (np.searchsorted(np.cumsum(fractions), position, "right") + 1) % (len(fractions) + 1)


def _fill(part: Rows, shares: NDArray[np.float64], asked: list[int]) -> None:
    """Give a part without groups the training group with the lowest number, and training the last group of all."""
    if not (part == 0).any():
        part[np.argmax(shares)] = 0
    for number in asked:
        training = np.flatnonzero(part == 0)
        if not (part == number).any() and len(training) > 1:
            part[training[np.argmin(shares[training])]] = number


def _learn(part: Rows, shares: NDArray[np.float64], place: Rows, classes: Rows, asked: list[int]) -> None:
    """Move a group of each class that has no training row into training, unless its part would be empty."""
    missing = np.setdiff1d(classes, classes[part[place] == 0])
    for one in missing.tolist():
        having = np.unique(place[classes == one])
        spare = [
            group for group in having.tolist() if (part == part[group]).sum() > 1 or part[group] not in asked
        ]
        if spare and not (part[having] == 0).any():
            part[max(spare, key=lambda group: shares[group])] = 0


def _too_few(groups: int, parts: int) -> SplitError:
    return SplitError(
        f"data.split.group has {groups} groups, for {parts} parts; expected a group for each at least; name another "
        "column, or add groups"
    )
