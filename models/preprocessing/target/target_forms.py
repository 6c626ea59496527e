"""What form a target has: one value a row, a set of labels, an array, nothing, or several outputs of such forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.label_lists import is_list_text, label_column
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Class, Target
from tidegate.models.preprocessing.schema_inference import infer_target
from tidegate.models.preprocessing.target.label_matrix import known_labels
from tidegate.models.preprocessing.target.masks import MOST_CLASSES, MaskOptions, mask_target
from tidegate.models.preprocessing.target.one_hot import TargetColumns
from tidegate.models.preprocessing.target.tags import tag_target


@dataclass(frozen=True)
class Output:
    """One of the entries of `data.target`: its column, and its task where that is stated."""

    name: str
    task: str | None = None
    mask: MaskOptions | None = None


class TargetForms:
    """Reads the target columns of rows in memory.

    Args:
        names: the target columns.
        task: where it is stated, or follows from the loss.
        outputs: the entries that state a task of their own; with one, every entry is an output.

    Attributes:
        names: after `read`, of the columns that hold the target.
        task: after `read`, what is known of the task.
    """

    def __init__(self, names: Sequence[str], task: str | None, outputs: Sequence[Output] = ()) -> None:
        self.names, self.task = list(names), task
        stated = {output.name: output.task for output in outputs}
        self._several = task == "multioutput" or (len(self.names) > 1 and bool(stated))
        self._stated = stated
        if len(self.names) == 1 and self.names[0] in stated:
            self.task = stated[self.names[0]]
        self._mask = next((output.mask for output in outputs if output.mask), None)
        self._outputs: list[TargetForms] = []
        self._dense = False

    def is_plain(self, columns: Columns) -> bool:
        """Whether a row has a class or numbers, which rows that stay on disk may have."""
        if self._several or self.task in ("multilabel", "segmentation", "reconstruction", "tagging"):
            return False
        held = [columns[name] for name in self.names if name in columns]
        lists = len(held) == 1 and (self._is_of_labels(held[0]) or self._is_dense(held[0]))
        return not lists and not (
            self.task is None and len(held) == len(self.names) and self._are_unlike(columns)
        )

    def read(self, columns: Columns) -> Columns:
        """The columns with these targets as they are learned.

        Raises:
            SchemaError: a target is no column, or holds something else than its task asks for.
        """
        for name in self.names:
            if name not in columns:
                raise unknown_column(name, columns, "target")
        if self.task in ("reconstruction", "forecasting", "anomaly"):
            return columns
        if self._several or (self.task is None and self._are_unlike(columns)):
            return self._read_outputs(columns)
        if self.task == "tagging":
            self._require_one()
            return columns
        only = columns[self.names[0]] if len(self.names) == 1 else None
        if self._is_of_labels(only):
            return self._read_labels(columns)
        if only is not None and self._is_dense(only):
            self._dense = True
            return columns
        read, self.names = TargetColumns(self.names, self.task).read(columns)
        return read

    def target(self, columns: Columns) -> Target | None:
        """The target, from rows that have one; None where a class or a number a row is inferred as ever."""
        if self.task in ("reconstruction", "anomaly"):
            return Target(names=(), task="reconstruction")
        if self._outputs:
            return Target(names=tuple(self.names), task="multioutput", outputs=tuple(self._found(columns)))
        names = tuple(self.names)
        if self.task == "tagging":
            return tag_target(names[0], columns[names[0]])
        if self.task == "multilabel":
            return Target(names=names, task="multilabel", classes=known_labels(columns, names))
        return self._dense_target(columns[names[0]]) if self._dense else None

    def _found(self, columns: Columns) -> list[Target]:
        return [
            one.target(columns) or infer_target(columns, tuple(one.names), one.task) for one in self._outputs
        ]

    def _are_unlike(self, columns: Columns) -> bool:
        """Whether several columns are neither all numbers nor one-hot, so that each is an output of its own."""
        if len(self.names) < 2:
            return False
        texts = [columns[name].dtype == object for name in self.names]
        arrays = [columns[name].ndim > 1 for name in self.names]
        if any(arrays):
            return any(texts) or not all(arrays) or any(columns[name].ndim > 2 for name in self.names)
        return any(texts) and not all(_are_flags(columns[name]) for name in self.names)

    def _read_outputs(self, columns: Columns) -> Columns:
        if len(self.names) < 2:
            raise SchemaError(
                f"the task is multioutput and data.target is {', '.join(self.names) or 'nothing'}; expected two "
                "outputs or more; name them, or leave the task out"
            )
        for name in sorted(self.names):  # as Keras orders a dict of outputs
            form = TargetForms([name], self._stated.get(name))
            columns = form.read(columns)
            if form.names != [name]:
                raise SchemaError(
                    f"target {name!r} holds arrays of {len(form.names)} numbers and is one of several outputs; "
                    "expected one value a row, labels, one-hot rows, or arrays of two dimensions; name its columns "
                    "one by one"
                )
            self._outputs.append(form)
        self.task = "multioutput"
        if not self._stated:
            tell(
                f"target {', '.join(self.names)}: columns of several kinds, each of which is an output of the model; "
                "state data.target as a mapping to choose their tasks and losses"
            )
        return columns

    def _require_one(self) -> None:
        if len(self.names) > 1:
            raise SchemaError(
                f"the task is tagging and data.target is {', '.join(self.names)}; expected one column of lists of "
                "labels; name one"
            )

    def _read_labels(self, columns: Columns) -> Columns:
        self.task = "multilabel"
        if len(self.names) > 1:
            return columns
        (name,) = self.names
        return columns if columns[name].ndim == 2 else columns | {name: label_column(name, columns[name])}

    def _is_of_labels(self, column: Array | None) -> bool:
        """Whether a row is a set of labels; rows of 0 and 1 are one where classes are asked for, unless one-hot."""
        if self.task == "multilabel" or column is None:
            return self.task == "multilabel"
        if column.ndim == 2 and self.task == "classification":
            flags = ((column == 0) | (column == 1)).all()
            return bool(flags) and bool((column.sum(axis=1) != 1).any()) and column.shape[1] > 1
        return self.task in (None, "classification") and _are_lists(column)

    def _is_dense(self, column: Array) -> bool:
        """Whether a column holds a class or a number at each place of an array."""
        if self._mask is not None:
            return True  # whose content `mask_target` checks
        stated = self.task == "segmentation" and column.ndim > 1
        return column.dtype != object and (stated or column.ndim > 2)

    def _dense_target(self, column: Array) -> Target:
        (name,), shape = self.names, tuple(column.shape[1:])
        if self._mask is not None:
            return mask_target(name, column, self._mask)
        whole = (_is_whole(column) and column.dtype.kind != "f") or self.task == "segmentation"
        if self.task != "regression" and whole:
            classes = _classes(name, column)
            if len(classes) <= MOST_CLASSES and (self.task is not None or len(classes) <= MOST_CLASSES // 8):
                if self.task is None:
                    tell(
                        f"target {name!r}: arrays of {len(classes)} whole numbers, read as a class at each place; "
                        "data.task: regression learns the numbers"
                    )
                return Target(names=(name,), task="segmentation", classes=classes, shape=shape)
        if self.task == "segmentation":
            raise SchemaError(
                f"target {name!r} has more than {MOST_CLASSES} different numbers, and the task is segmentation; "
                "expected a class number at each place; set data.task: regression to learn the numbers"
            )
        return Target(names=(name,), task="regression", shape=shape)


def outputs_of(entries: Sequence[str | Mapping[str, Any]] | None) -> list[Output]:
    """The entries of `data.target` that state a task of their own."""
    stated = [entry for entry in entries or () if not isinstance(entry, str)]
    tasks = {"labels": "multilabel", "mask": "segmentation"}
    found = [
        Output(
            entry["name"],
            entry.get("task") or tasks.get(entry.get("kind") or ""),
            MaskOptions.of(entry) if entry.get("kind") == "mask" else None,
        )
        for entry in stated
    ]
    return [output for output in found if output.task]


def _classes(name: str, column: Array) -> tuple[Class, ...]:
    values = np.unique(column)
    if column.dtype.kind == "f" and not _is_whole(column):
        raise SchemaError(
            f"target {name!r} holds {values[values != np.floor(values)][0]!r}, and the task is segmentation; expected "
            "a class number at each place, in every row; correct it, or set data.task: regression"
        )
    return tuple(int(value) for value in values.tolist())


def _is_whole(column: Array) -> bool:
    return column.dtype.kind in "biu" or bool(
        np.isfinite(column).all() and (column == np.floor(column)).all()
    )


def _are_lists(column: Array | None) -> bool:
    if column is None or column.dtype != object:
        return False
    known = [value for value in column.tolist() if value is not None]
    return bool(known) and all(map(is_list_text, known))


def _are_flags(column: Array) -> bool:
    if column.dtype != object:
        return bool(np.isin(column[~np.isnan(column.astype(float))], (0, 1)).all())
    return {str(value).strip().lower() for value in column if value is not None} <= {"true", "false"}
