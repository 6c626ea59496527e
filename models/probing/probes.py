"""Probes: rows and the trained model's answers, made by the process that trained and kept with the bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, load_columns, rows_of, save_columns, take
from tidegate.models.errors import TransformError, one_line
from tidegate.models.evaluation.text_metrics import token_probabilities
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probe_rows import class_of, probe_rows

MOST_NUMBERS = 1 << 21  # of all answers, and of all that stands before them: 8 MB each
ROW = "row."  # before a raw column's name in the file


@dataclass(frozen=True)
class Probes:
    """Rows for which a served model is compared with the trained one.

    Attributes:
        columns: raw rows, `n`.
        kinds: of each row, see `probe_rows`.
        answers: the trained model's own outputs, float32 `(n, ...)`; for texts what `token_probabilities` gives.
        before: what it computes before its last softmax or sigmoid, float32, of the first rows; None: it has none.
        scale: the largest absolute output for held-out rows.
    """

    columns: Columns
    kinds: list[str]
    answers: NDArray[np.float32]
    before: NDArray[np.float32] | None
    scale: float


class Answering(Protocol):
    """A trained model that can be asked."""

    def run(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """Its own outputs for model inputs by name, float32 `(n, ...)`."""

    def before(self, inputs: Mapping[str, Array]) -> NDArray[np.float32] | None:
        """What it computes before its last softmax or sigmoid; None: that is not known."""

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape of a row of its output; None is any size."""


@dataclass(frozen=True)
class KerasAnswers:
    """A Keras model that can be asked."""

    model: Any

    def run(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """See `networks.predict.predict`."""
        from tidegate.models.networks.predict import predict

        return predict(self.model, inputs)

    def before(self, inputs: Mapping[str, Array]) -> NDArray[np.float32] | None:
        """See `networks.last_activation.predict_before`."""
        from tidegate.models.networks.heads.last_activation import predict_before

        return predict_before(self.model, inputs)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape of a row of its output; of several, how many numbers they have together."""
        shapes = [tuple(answer.shape[1:]) for answer in self.model.outputs]
        if len(shapes) == 1:
            return shapes[0]
        return (sum(math.prod(size or 1 for size in shape) for shape in shapes),)


def make_probes(model: Answering, schema: Schema, transforms: Transforms, columns: Columns) -> Probes | None:
    """Choose the rows by the trained model, and ask it; what it cannot answer is left out.

    Args:
        model: the trained model.
        schema, transforms: of the data.
        columns: held-out raw rows.

    Returns:
        None if there are no rows.
    """
    if not rows_of(columns):
        return None
    run = model.run

    def labels(rows: Columns) -> NDArray[np.integer]:
        return class_of(run(transforms.apply(rows)))

    classes = schema.target.task == "classification"
    try:
        rows, kinds = probe_rows(schema, transforms, columns, labels if classes else None)
    except TransformError as error:  # a row between two others is none that the user's own transform takes
        print(f"no boundary probes: {one_line(error)[:200]}", flush=True)
        rows, kinds = probe_rows(schema, transforms, columns, None)
    if transforms.own is not None:
        taken = transforms.own.taken(rows)
        rows, kinds = take(rows, taken), [kinds[row] for row in taken]
    rows, kinds = _few(rows, kinds, _numbers_of_a_row(model, schema))
    rows, kinds = _answered(rows, kinds, partial(ask, run, transforms))
    if not kinds:
        return None
    answers = ask(run, transforms, rows)
    before = model.before(transforms.apply(_first(rows, model)))
    good = _finite(answers)
    if before is not None:
        good[: len(before)] &= _finite(before)
        before = before[good[: len(before)]]
    answers, kinds = answers[good], np.array(kinds)[good].tolist()
    held_out = answers[[kind == "held-out" for kind in kinds]]
    scale = float(np.abs(held_out).max()) if held_out.size else 1.0
    return Probes(take(rows, np.flatnonzero(good)), kinds, answers, before, scale)


def ask(run: Any, transforms: Transforms, rows: Columns) -> NDArray[np.float32]:
    """A model's own outputs for raw rows, or for texts `token_probabilities`, float32."""
    inputs = transforms.apply(rows)
    if transforms.text_target is None:
        return np.asarray(run(inputs), np.float32)
    return token_probabilities(run, inputs, transforms.text_target.encode(rows))


def save_probes(path: Path, probes: Probes) -> None:
    """Write an .npz file without pickle; equal probes give equal bytes."""
    arrays: Columns = {f"{ROW}{name}": column for name, column in probes.columns.items()}
    arrays["kinds"] = _objects(probes.kinds)
    arrays |= {"answers": probes.answers, "scale": np.array([probes.scale])}
    save_columns(path, arrays if probes.before is None else {**arrays, "before": probes.before})


def load_probes(path: Path) -> Probes:
    """Read what `save_probes` wrote; FormatError if the file is something else."""
    arrays = load_columns(path)
    return Probes(
        columns={name.removeprefix(ROW): array for name, array in arrays.items() if name.startswith(ROW)},
        kinds=arrays["kinds"].tolist(),
        answers=arrays["answers"],
        before=arrays.get("before"),
        scale=float(arrays["scale"][0]),
    )


def _answered(rows: Columns, kinds: list[str], asked: Any) -> tuple[Columns, list[str]]:
    """Without the kinds of rows that the trained model itself does not take, such as an empty text."""
    taken = []
    for kind in dict.fromkeys(kinds):
        places = np.flatnonzero(np.array(kinds) == kind)
        try:
            asked(take(rows, places))
            taken.append(kind)
        except Exception as error:  # a user's model may raise anything
            print(
                f"no {kind} probes, because the model does not take them: {one_line(error)[:200]}", flush=True
            )
    good = np.flatnonzero([kind in taken for kind in kinds])
    return take(rows, good), [kinds[place] for place in good]


def _finite(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether all numbers of a row are finite."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))


def _numbers_of_a_row(model: Answering, schema: Schema) -> int:
    """How many numbers an answer has; a text's answer has only a few, which is kept of every row."""
    if schema.target.task == "generation":
        return 1
    return math.prod(size or 1 for size in model.sizes)


def _few(rows: Columns, kinds: list[str], numbers: int) -> tuple[Columns, list[str]]:
    most = max(1, MOST_NUMBERS // numbers)
    return {name: column[:most] for name, column in rows.items()}, kinds[:most]


def _first(rows: Columns, model: Answering) -> Columns:
    """The rows of which is kept what stands before the last activation: for texts a number for each step and token."""
    steps = math.prod(size or 64 for size in model.sizes)
    return {name: column[: max(1, MOST_NUMBERS // steps)] for name, column in rows.items()}


def _objects(values: list[str]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column
