"""The metrics of an endpoint, for Prometheus.

Plain numbers, changed on the event loop only and turned into Prometheus' families when `/metrics` is read: counting a
request takes one microsecond instead of ten. Where several processes serve, the page of each has the sums of all.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tidegate.serving.monitoring.counts import Buckets, Counts
from tidegate.serving.monitoring.process_group import Member
from tidegate.serving.monitoring.sharing import Part, Sharing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABELS = 200
FOLD = 1024  # rows after which the counting that was put off is done
OTHER = "other"
NAMES = ("endpoint", "release")
RESULTS = ("passed", "failed")


class Metrics(Part):
    """Counters of one release at one endpoint; `release` is None for a bento that is served by itself.

    Args:
        endpoint: the endpoint's name.
        release: the release's number.
        labels: a classifier's classes in the order of its outputs; empty for a regressor.
        threshold: of sets of labels, the probability from which one is counted; None: the most probable class is.

    Attributes:
        gauges: functions that return the value of each gauge.
        proof: what the last proof by golden rows found.
        limits_callers: whether requests of a caller are limited; who it was is nobody's business who reads the page.
    """

    def __init__(
        self,
        endpoint: str,
        release: int | None,
        labels: Sequence[str] = (),
        threshold: float | None = None,
    ) -> None:
        self._values = [endpoint, "" if release is None else str(release)]
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(self)
        self._labels, self._threshold = labels, threshold
        self._counts = Counts(np.zeros(len(labels), np.int64))
        self._new: list[tuple[NDArray[np.float32], float, float]] = []
        self._new_rows = 0
        self._parts: dict[str, Part] = {"metrics": self}
        self.gauges: dict[str, Callable[[], float]] = {}
        self.proof: dict[str, float] = {}
        self.limits_callers = False

    def count(self, route: str, code: int) -> None:
        """Count one answered request."""
        self._counts.requests[route, code] += 1

    def failed(self, kind: str) -> None:
        """Count one prediction request without a prediction."""
        self._counts.errors[kind] += 1

    def predicted(self, values: NDArray[np.float32], model: float, seconds: float) -> None:
        """Count one answered prediction request.

        Args:
            values: the predictions, `(n, classes)` or `(n, outputs)`, or boxes `(n, max_boxes, 6)`.
            model: seconds in transforms and model.
            seconds: seconds from the request's start to its response.
        """
        self._new.append((values, model, seconds))
        self._new_rows += len(values)
        if self._new_rows >= FOLD:
            self._fold()

    def proved(self, result: str) -> None:
        """Count a proof by golden rows, which "passed" or "failed"."""
        self._counts.proofs[result] += 1

    def unseen(self, rows: Mapping[str, int]) -> None:
        """Count rows, by field, whose category or id training did not know."""
        self._counts.unseen.update(rows)

    def add(self, name: str, collector: Part) -> None:
        """Also put another collector's metrics on the page, and share what it counts under this name."""
        self._registry.register(collector)
        self._parts[name] = collector

    def share(self, member: Member, processes: Collector) -> Sharing:
        """From now on this process is one of several: go on from its predecessor's counts, and add up all of them.

        Args:
            member: this process.
            processes: the metrics of all processes, in place of those of this one.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (PlatformCollector(registry=None), processes, *self._parts.values()):
            self._registry.register(collector)
        return Sharing(member, self._parts)

    def page(self) -> bytes:
        """The metrics in Prometheus' text format."""
        if self.sharing is not None:
            self.sharing.publish()
        return generate_latest(self._registry)

    def state(self) -> tuple[Counts, dict[str, float]]:
        """What this process counted, and its gauges."""
        self._fold()
        return self._counts, {name: value() for name, value in self.gauges.items()} | self.proof

    def restore(self, state: tuple[Counts, dict[str, float]]) -> None:
        """Go on from what a process counted that ended."""
        self._counts.add(state[0])

    def fingerprint(self) -> Hashable:
        """A value that changes when `state` does."""
        gauges = tuple(value() for value in self.gauges.values())
        return self._counts.requests.total(), self._counts.proofs.total(), gauges

    def collect(self) -> Iterable[Metric]:
        """All metric families with their current values."""
        counts, gauges = self._total()
        requests = _counter("tidegate_requests", "HTTP requests by route and status", "route", "code")
        for (route, code), count in counts.requests.items():
            requests.add_metric([*self._values, route, str(code)], count)
        yield requests
        errors = _counter("tidegate_errors", "Prediction requests without a prediction, by kind", "type")
        for kind, count in counts.errors.items():
            errors.add_metric([*self._values, kind], count)
        yield errors
        if self.limits_callers:
            limited = _counter("tidegate_rate_limited", "Requests refused because their caller sent too many")
            limited.add_metric(self._values, counts.errors["rate_limited"])
            yield limited
        rows = _counter("tidegate_predicted_rows", "Rows predicted")
        rows.add_metric(self._values, counts.batch.sum)
        yield rows
        if counts.unseen:
            unseen = _counter(
                "tidegate_unseen_values", "Rows whose category or id training did not know", "field"
            )
            for field, count in counts.unseen.items():
                unseen.add_metric([*self._values, field], count)
            yield unseen
        proofs = _counter("tidegate_proofs", "Proofs by golden rows, by result", "result")
        for result in RESULTS:  # from the start, for the first failure is a rise only if there was a 0 before
            proofs.add_metric([*self._values, result], counts.proofs[result])
        yield proofs
        yield from self._distributions(counts)
        for name, value in gauges.items():
            gauge = GaugeMetricFamily(f"tidegate_{name}", GAUGES[name], labels=NAMES)
            gauge.add_metric(self._values, value)
            yield gauge

    def _total(self) -> tuple[Counts, dict[str, float]]:
        """The counts and gauges of all processes: most are sums, see `TOGETHER`."""
        own, gauges = self.state()
        counts = Counts(np.zeros(len(self._labels), np.int64))
        counts.add(own)
        for (more, found), runs in self.sharing.others("metrics") if self.sharing is not None else ():
            counts.add(more)
            for name in gauges if runs else ():
                gauges[name] = TOGETHER.get(name, sum)((gauges[name], found[name]))
        return counts, gauges

    def _fold(self) -> None:
        """Count the new requests, all at once: that takes a tenth of the time of one by one."""
        new, self._new, self._new_rows = self._new, [], 0
        if not new:
            return
        counts = self._counts
        counts.seconds.observe([seconds for _, _, seconds in new])
        counts.model.observe([seconds for _, seconds, _ in new])
        counts.batch.observe([len(values) for values, _, _ in new])
        values = np.concatenate([values for values, _, _ in new])
        if values.ndim == 3:  # boxes, whose first number is their class
            places = values[:, :, 0].astype(np.int64)
            counts.classes += np.bincount(places[places >= 0], minlength=len(counts.classes))
        elif self._threshold is not None:
            counts.classes += (values >= self._threshold).sum(axis=0)
        elif self._labels:
            counts.classes += np.bincount(values.argmax(axis=1), minlength=len(counts.classes))
        else:
            counts.predicted.observe(values[:, 0])

    def _distributions(self, counts: Counts) -> Iterable[Metric]:
        yield self._histogram(
            "request_seconds", "Seconds from a request's start to its prediction", counts.seconds
        )
        yield self._histogram("model_seconds", "Seconds of it in transforms and model", counts.model)
        yield self._histogram("batch_rows", "Rows of a request", counts.batch)
        if not self._labels:
            yield self._histogram("prediction_value", "Predicted numbers, the first output", counts.predicted)
            return
        classes = _counter("tidegate_predictions", "Predicted rows by class", "label")
        for label, count in zip(self._labels[:MAX_LABELS], counts.classes.tolist(), strict=False):
            classes.add_metric([*self._values, label], count)
        if len(self._labels) > MAX_LABELS:
            classes.add_metric([*self._values, OTHER], int(counts.classes[MAX_LABELS:].sum()))
        yield classes

    def _histogram(self, name: str, words: str, buckets: Buckets) -> HistogramMetricFamily:
        family = HistogramMetricFamily(f"tidegate_{name}", words, labels=NAMES)
        family.add_metric(self._values, buckets.pairs(), buckets.sum)
        return family


GAUGES = {
    "in_flight": "Prediction requests that are being answered",
    "queued": "Of these, those that wait for a thread",
    "body_bytes": "Bytes of request bodies held",
    "ready": "1 while the endpoint is ready",
    "proof_timestamp_seconds": "When the golden rows were last answered right",
    "proof_rows": "Golden rows of a proof",
    "proof_share": "Largest difference of the last proof, as a share of what is allowed",
    "certificate_end_timestamp_seconds": "Until when the certificate that is shown is valid",
    "unwatched_requests": "Answered requests that drift does not know of, because its queue was full",
}

# What a gauge of several processes is, where it is not the sum: the worst of them, but one that is ready is enough.
TOGETHER: dict[str, Callable[[Iterable[float]], float]] = {
    "ready": max,
    "proof_timestamp_seconds": min,
    "proof_rows": min,
    "certificate_end_timestamp_seconds": min,
    "proof_share": max,
}


def _counter(name: str, words: str, *more: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, words, labels=[*NAMES, *more])
