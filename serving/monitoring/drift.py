"""Drift: whether requests and predictions still look like the training rows, by the population stability index.

For one feature with `p_i` the share of training rows in bin `i` and `q_i` that of the requested rows,

    PSI = sum over i of (q_i - p_i) * ln(q_i / p_i)

as in B. Yurdakul, "Statistical Properties of Population Stability Index", Western Michigan University, 2018
(https://scholarworks.wmich.edu/dissertations/3208). The usual reading: below 0.1 the data has not moved, from
0.25 on it has. Half a row is added to each bin, so that an empty one does not make it infinite.
"""

import time
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tidegate.models.data.columns import Columns
from tidegate.serving.bundle.drift_reference import DriftReference, Feature, predicted_columns
from tidegate.serving.contract.contract import Contract
from tidegate.serving.monitoring.observer import Observation
from tidegate.serving.monitoring.sharing import Part

# No evidently or alibi-detect: an endpoint would carry pandas or PyTorch for one sum.
WINDOW = 5000  # rows; the index is over the last one to two of them
MIN_ROWS = 200  # with fewer, chance alone looks like drift
MAX_ROWS_AT_ONCE = 4096  # rows that are binned at a time; those beyond are skipped and counted
NAMES = ("endpoint", "release")
SUMS = ("in_window", "rows", "seen", "skipped")  # of rows


class Drift(Part):
    """An observer that bins the rows it gets, in the caller's thread, and computes each feature's index.

    Where several processes serve, each has its share of the window, and the index is that of all their rows.

    Args:
        reference: of the release's training rows.
        contract: of the release.
        endpoint: the endpoint's name.
        release: the release's number.
    """

    def __init__(
        self, reference: DriftReference, contract: Contract, endpoint: str, release: int | None
    ) -> None:
        self._made_of = (reference, contract, endpoint, release)
        self._summed: tuple[list[int], Drift] | None = None
        self._contract = contract
        self._labels = [endpoint, "" if release is None else str(release)]
        self._features = [_FeatureDrift("feature", feature) for feature in reference.features]
        self._predictions = [_FeatureDrift("prediction", feature) for feature in reference.predictions]
        self._all = (*self._features, *self._predictions)
        self.in_window = 0
        self.rows = 0
        self.seen = 0
        self.skipped = 0

    def __call__(self, seen: Sequence[Observation]) -> None:
        """Add answered requests: the raw columns and predictions of each, rows first."""
        kept = self._kept(seen)
        values = np.concatenate([values for _, values in kept])
        if self.in_window >= WINDOW / (1 if self.sharing is None else self.sharing.member.group.count):
            self.in_window = 0
            for drift in self._all:
                drift.start_window()
        for drift in self._features:
            drift.add(np.concatenate([columns[drift.name] for columns, _ in kept]))
            time.sleep(0)  # let the event loop have the interpreter between two features
        predicted: Columns = predicted_columns(self._contract, values)
        for drift in self._predictions:
            drift.add(predicted[drift.name])
        self.in_window += len(values)
        self.seen += len(values)
        self.rows = int(self._predictions[0].counts.sum())

    def index(self) -> dict[str, dict[str, float]]:
        """`{"feature": {name: index}, "prediction": {name: index}}`; empty below MIN_ROWS rows."""
        if self.rows < MIN_ROWS:
            return {"feature": {}, "prediction": {}}
        return {
            kind: {drift.name: drift.index for drift in watching}
            for kind, watching in (("feature", self._features), ("prediction", self._predictions))
        }

    def collect(self) -> Iterable[Metric]:
        """The metric families for Prometheus, from numbers that are computed already."""
        psi = GaugeMetricFamily(
            "tidegate_drift_psi",
            "Population stability index of the latest rows against the training rows",
            labels=[*NAMES, "kind", "name"],
        )
        total = self._total()
        for kind, found in total.index().items():
            for name, value in found.items():
                psi.add_metric([*self._labels, kind, name], value)
        yield psi
        rows = GaugeMetricFamily("tidegate_drift_rows", "Rows that the index is over", labels=NAMES)
        rows.add_metric(self._labels, total.rows)
        yield rows
        for name, words, count in (
            ("seen", "Rows looked at for drift", total.seen),
            ("skipped", "Rows not looked at, because too many came at once", total.skipped),
        ):
            family = CounterMetricFamily(f"tidegate_drift_{name}_rows", words, labels=NAMES)
            family.add_metric(self._labels, count)
            yield family

    def state(self) -> dict[str, Any]:
        """The counts of all features, one after the other, of this window and the previous one; and how many rows."""
        return {
            "counts": np.concatenate([drift.counts for drift in self._all]),
            "before": np.concatenate([drift.before for drift in self._all]),
            **{name: getattr(self, name) for name in SUMS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the counts of a process that ended."""
        self._add([state])

    def fingerprint(self) -> Hashable:
        """Rows that came."""
        return self.seen, self.skipped

    def _total(self) -> "Drift":
        """The drift of the rows of all processes."""
        if self.sharing is None:
            return self
        states = [self.state(), *(state for state, _ in self.sharing.others("drift"))]
        seen = [state["seen"] for state in states]
        if self._summed is None or self._summed[0] != seen:
            total = Drift(*self._made_of)
            total._add(states)
            self._summed = seen, total
        return self._summed[1]

    def _add(self, states: Sequence[dict[str, Any]]) -> None:
        ends = np.cumsum([len(drift.counts) for drift in self._all])[:-1]
        for state in states:
            parts = (np.split(state[name], ends) for name in ("counts", "before"))
            for drift, counts, before in zip(self._all, *parts, strict=True):
                drift.counts, drift.before = drift.counts + counts, drift.before + before
            for name in SUMS:
                setattr(self, name, getattr(self, name) + state[name])
        for drift in self._all:
            drift.add_counts(0)

    def _kept(self, seen: Sequence[Observation]) -> list[Observation]:
        kept: list[Observation] = []
        room = MAX_ROWS_AT_ONCE
        for columns, values in seen:
            if room >= len(values) or not kept:
                kept.append((columns, values))
                room -= len(values)
            else:
                self.skipped += len(values)
        return kept


class _FeatureDrift:
    """One feature: its reference, and the counts of this window and the previous one."""

    def __init__(self, kind: str, feature: Feature) -> None:
        self.kind, self.name = kind, feature.name
        self._feature = feature
        self._expected = _shares(np.array(feature.counts))
        self.before = np.zeros(len(feature.counts), np.int64)
        self.counts = self.before
        self.index = 0.0

    def start_window(self) -> None:
        """Start a new window and drop the counts of the window before the previous one."""
        self.before = self.counts - self.before
        self.counts = self.before

    def add(self, column: NDArray[np.generic]) -> None:
        """Count more rows, and compute the index."""
        self.add_counts(self._feature.count(column))

    def add_counts(self, counts: NDArray[np.int64] | int) -> None:
        """The same, of rows that are binned already."""
        self.counts = self.counts + counts
        self.index = population_stability_index(self._expected, _shares(self.counts))


def population_stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """The population stability index of two distributions over the same bins, `(bins,)` each, none of them 0."""
    return float(((found - expected) * np.log(found / expected)).sum())


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))
