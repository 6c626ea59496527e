"""Masks: images whose pixels hold the number of a class, the target of a segmentation.

What a pixel holds is the class's value: its place among the names, or any whole number that a name is given for, as
0 and 255. A pixel of the value to ignore has no class: the loss and the metrics leave it out. Everingham et al., "The
PASCAL Visual Object Classes Challenge" (2010), call it void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED
from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Class, Target

MOST_CLASSES = 256
MOST_SHOWN = 8
LARGEST = 1 << 31  # of values: endpoints answer int32
PIXELS_AT_ONCE = 1 << 22  # while numbers become places, which takes some 40 bytes a pixel


@dataclass(frozen=True)
class MaskOptions:
    """What a target of kind mask states.

    Args:
        names: the classes' names by the value of their pixels; None: the values that occur are the classes.
        ignore: the value of pixels without a class; None: there are none.
    """

    names: Mapping[int, str] | None = None
    ignore: int | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> MaskOptions:
        """From an entry of `data.target`; a list names the values from 0 on."""
        classes = entry.get("classes")
        if classes is None:
            return cls(None, entry.get("ignore"))
        named: Mapping[Any, Any] = classes if isinstance(classes, Mapping) else dict(enumerate(classes))
        return cls({int(value): str(name) for value, name in named.items()}, entry.get("ignore"))


def mask_target(name: str, column: Array, options: MaskOptions) -> Target:
    """The target of a column of masks.

    Raises:
        SchemaError: it holds something else, a value that is no class, or fewer than two classes.
    """
    if column.dtype.kind not in "bui" or column.ndim < 3:
        held = "texts" if column.dtype == object else f"rows of {column.dtype} {tuple(column.shape[1:])}"
        raise SchemaError(
            f"target {name!r} has kind mask and holds {held}; expected an array of whole numbers a row, (height, "
            "width), one for each pixel; correct it, or leave the kind out"
        )
    found = [int(value) for value in np.unique(column).tolist() if value != options.ignore]
    unnamed: Mapping[int, Class] = {value: value for value in found}
    names: Mapping[int, Class] = options.names or unnamed
    _check_values(name, column, found, names, options)
    absent = [str(label) for value, label in names.items() if value not in found]
    if absent:
        tell(
            f"target {name!r}: no pixel of any row is {_listed(absent)}, so it is never learned; check the masks"
        )
    return Target(
        names=(name,),
        task="segmentation",
        classes=tuple(names.values()),
        shape=tuple(column.shape[1:]),
        values=tuple(names),
        ignored=options.ignore,
    )


def mask_places(target: Target, column: Array) -> NDArray[np.int16]:
    """The place of each pixel's class, `IGNORED` where it has none; of the column's shape.

    Raises:
        SchemaError: a pixel holds another value.
    """
    places = np.empty(column.shape, np.int16)
    rows = max(1, PIXELS_AT_ONCE // max(1, target.places))
    for start in range(0, len(column), rows):
        places[start : start + rows] = _places(target, column[start : start + rows], start)
    return places


def _places(target: Target, column: Array, first: int) -> NDArray[np.integer]:
    values = np.asarray(target.values, np.int64)
    ascending = np.argsort(values)
    held = column.astype(np.int64)
    places = ascending[np.searchsorted(values[ascending], held).clip(max=len(values) - 1)]
    ignored = np.zeros(held.shape, np.bool_) if target.ignored is None else held == target.ignored
    wrong = (values[places] != held) & ~ignored
    if wrong.any():
        row = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
        raise _unknown(target.names[0], held, wrong, row, values.tolist(), first)
    return np.where(ignored, IGNORED, places)


def pixels_by_class(target: Target, columns: Columns) -> dict[str, int]:
    """How many pixels have each class."""
    places = mask_places(target, columns[target.names[0]])
    counts = np.bincount(places[places >= 0], minlength=len(target.classes))
    return {str(label): int(count) for label, count in zip(target.classes, counts, strict=True)}


def tell_about_masks(target: Target, splits: Mapping[str, Columns]) -> None:
    """Tell classes that no pixel of the training or test rows has, and rows in which no pixel has a class."""
    if target.values is None:
        return
    counts, empty = dict[str, list[int]](), 0
    for part, columns in splits.items():
        places = mask_places(target, columns[target.names[0]])
        counts[part] = np.bincount(places[places >= 0], minlength=len(target.classes)).tolist()
        empty += int((places < 0).reshape(len(places), -1).all(axis=1).sum())
    for part, what in (
        ("train", "it is not learned"),
        ("test", "the test metrics count only what is wrongly taken for it"),
    ):
        lacking = [
            str(label)
            for place, label in enumerate(target.classes)
            if not counts[part][place] and any(one[place] for one in counts.values())
        ]
        if lacking:
            tell(f"no pixel of the {part} rows is {_listed(lacking)}, so {what}; add rows")
    if empty:
        tell(
            f"{empty} rows have only pixels to ignore, so nothing is learned from them; check target "
            f"{target.names[0]!r}"
        )


def _check_values(
    name: str, column: Array, found: Sequence[int], names: Mapping[int, Any], options: MaskOptions
) -> None:
    if options.ignore is not None and options.ignore in names:
        raise SchemaError(
            f"target {name!r} ignores {options.ignore}, which is the class {names[options.ignore]!r}; expected another "
            "value; correct classes or ignore"
        )
    wide = [value for value in (*names, *found) if not -LARGEST <= value < LARGEST]
    if wide:
        raise SchemaError(
            f"target {name!r} has the value {wide[0]}; expected whole numbers from {-LARGEST} to {LARGEST - 1}, as "
            "endpoints answer them; write smaller ones"
        )
    unknown = [value for value in found if value not in names]
    if unknown:
        wrong = ~np.isin(column, [*names, *([] if options.ignore is None else [options.ignore])])
        row = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
        raise _unknown(name, column, wrong, row, list(names))
    if not 2 <= len(names) <= MOST_CLASSES:
        raise SchemaError(
            f"target {name!r} has {len(names)} classes ({_listed([str(one) for one in names])}); expected 2 to "
            f"{MOST_CLASSES} different values of pixels; check the masks, or set data.task: regression to learn numbers"
        )


def _unknown(
    name: str, column: Array, wrong: NDArray[np.bool_], row: int, known: Sequence[int], first: int = 0
) -> SchemaError:
    value = int(column[row][wrong[row]].flat[0])
    count = int((column[row] == value).sum())
    return SchemaError(
        f"target {name!r}, row {first + row} (counted from 0): {count} pixels hold {value}; expected one of "
        f"{_listed([str(one) for one in known])}; name it in classes, or leave it out with ignore: {value}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_SHOWN
    return ", ".join(names[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
