"""The reference that drift is measured against: the distribution of the training rows, a few numbers per feature.

It is made once, when a release is packaged, and is the bundle's `drift.json`.
"""

from collections import Counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tidegate.models.data.columns import Array, Columns
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import by_step, parts_of
from tidegate.serving.contract.answers import told_of
from tidegate.serving.contract.contract import Contract

BINS = 10  # few, so that a few hundred rows show a change and not chance
# With `m` training rows and `n` requested ones, chance alone gives an index of about (bins - 1)(1/m + 1/n) (Yurdakul,
# see `monitoring.drift`): so there are fewer bins where there are few rows.
ROWS_PER_BIN = 50
MAX_ROWS = 20_000  # training rows that the reference is made from, evenly spaced over all
DIGITS = 6  # of an edge, so that the last bits of a prediction do not change a bundle's digest

Measure = Literal["number", "mean", "length", "category"]


class Feature(BaseModel):
    """The distribution of one input, or of the prediction, over bins in the training rows.

    Attributes:
        name: the input's name, or the target's.
        measure: what is binned: the number itself, the mean of an array or an image (its intensity), the length
            of a text in characters, or the category.
        edges: between the bins, ascending; a value equal to an edge belongs to the bin above it.
        categories: the most frequent ones, instead of edges.
        counts: training rows in each bin; the last one counts missing values, and for categories the one before it
            all other categories.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    measure: Measure
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]

    def count(self, column: Array) -> NDArray[np.int64]:
        """Rows of a column `(n, ...)` in each bin, int64 `(len(counts),)`."""
        values = binned_values(self.measure, column)
        if self.measure == "category":
            return _count_categories(self.categories, values)
        return _count_numbers(np.asarray(self.edges, np.float64), values)


class DriftReference(BaseModel):
    """The reference of a release: its features, its predictions, and the number of rows they were made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    rows: int
    features: tuple[Feature, ...]
    predictions: tuple[Feature, ...]


def make_reference(contract: Contract, columns: Columns, values: NDArray[np.float32]) -> DriftReference:
    """The reference made from training rows.

    Args:
        contract: names and kinds of the inputs.
        columns: raw training rows, `n` of them.
        values: predictions for them, as `Predictor.predict_columns` returns them; texts only for the first rows.
    """
    kind = "text" if contract.task == "generation" else ""
    features = [_feature(entry.name, columns[entry.name], entry.kind) for entry in contract.inputs]
    predicted = [_feature(name, column, kind) for name, column in predicted_columns(contract, values).items()]
    return DriftReference(rows=len(values), features=tuple(features), predictions=tuple(predicted))


def evenly_spaced_rows(columns: Columns, rows: int) -> Columns:
    """At most MAX_ROWS rows, evenly spaced over all `rows`."""
    step = max(1, -(-rows // MAX_ROWS))
    return {name: column[::step] for name, column in columns.items()}


def predicted_columns(contract: Contract, values: NDArray[np.float32]) -> Columns:
    """Predictions as columns by target name: labels, texts, numbers of boxes, numbers, or arrays `(n, ...)`.

    Of masks there is a column a class: its share of the image.
    """
    if contract.task == "generation":
        return {contract.target[0]: values[:, 1]}
    if contract.detection is not None:
        return {contract.target[0]: (values[:, :, 0] >= 0).sum(axis=1).astype(np.float64)}
    return _answered(contract.target_, values)


def _answered(target: Target, values: NDArray[np.float32]) -> Columns:
    if target.outputs is not None:
        parts = [_answered(output, values[:, part]) for output, part in parts_of(target)]
        return {name: column for part in parts for name, column in part.items()}
    if target.task == "multilabel":
        return {str(name): values[:, place] for place, name in enumerate(target.classes)}
    if target.task == "classification":
        names = np.array([str(name) for name in target.classes], object)
        return {target.name: names[values.argmax(axis=1)]}
    if target.task == "anomaly":
        return {"score": values[:, 0]}
    if target.task == "tagging":
        return {target.name: told_of(target, values)}
    if target.values is not None:
        places = values.reshape(len(values), target.places, -1).argmax(axis=2)
        shares = {str(one): (places == place).mean(axis=1) for place, one in enumerate(target.classes)}
        return {name: share.astype(np.float64) for name, share in shares.items()}
    if target.quantiles is not None:
        return {target.name: by_step(target, values)[:, :, len(target.quantiles) // 2]}
    if target.shape is not None or not target.names:
        return {target.name or "output": values}  # of which the mean is binned
    return {name: values[:, place] for place, name in enumerate(target.names)}


def binned_values(measure: Measure, column: Array) -> Array:
    """The values of a column that are binned: float64 `(n,)` with NaN for missing ones, or the categories."""
    if measure == "category":
        return column
    if measure == "length":
        lengths = (np.nan if value is None else len(value) for value in column)
        return np.fromiter(lengths, np.float64, len(column))
    if measure == "mean":
        return _means(column.reshape(len(column), -1))
    return column.astype(np.float64)


def _means(flat: Array) -> Array:
    """Each row's mean; of a sequence over the steps that exist."""
    means = np.asarray(flat.mean(axis=1, dtype=np.float64))
    for row in np.flatnonzero(~np.isfinite(means)):
        finite = flat[row][np.isfinite(flat[row])]
        means[row] = finite.mean(dtype=np.float64) if finite.size else np.nan
    return means


def _feature(name: str, column: Array, kind: str) -> Feature:
    measure: Measure = "number"
    if column.dtype == object:
        measure = "length" if kind == "text" else "category"
    elif column.ndim > 1:
        measure = "mean"
    values = binned_values(measure, column)
    bins = max(2, min(BINS, len(values) // ROWS_PER_BIN))
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    if measure == "category":
        common = Counter(value for value in values.tolist() if value is not None)
        ranked = sorted(common, key=lambda value: (-common[value], value))
        categories = tuple(sorted(ranked[:bins]))
    else:
        edges = _edges(values[np.isfinite(values)], bins)
    empty = Feature(name=name, measure=measure, edges=edges, categories=categories, counts=())
    return empty.model_copy(update={"counts": tuple(empty.count(column).tolist())})


def _edges(values: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Between distinct values where there are few, else so that all bins have about the same number of rows."""
    distinct = np.unique(values)
    if len(distinct) <= bins:
        found = (distinct[1:] + distinct[:-1]) / 2
    else:
        found = np.quantile(values, np.arange(1, bins) / bins)
    return tuple(sorted({float(f"{edge:.{DIGITS}g}") for edge in found.tolist()}))


def _count_numbers(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    places = np.searchsorted(edges, values, side="right")
    places[~np.isfinite(values)] = len(edges) + 1
    return np.bincount(places, minlength=len(edges) + 2)


def _count_categories(categories: tuple[str, ...], values: Any) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(categories)}
    others, missing = len(categories), len(categories) + 1
    found = [missing if value is None else places.get(value, others) for value in values.tolist()]
    return np.bincount(np.array(found, np.int64), minlength=len(categories) + 2)
