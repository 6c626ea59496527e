"""What an endpoint counts, for Prometheus.

Plain numbers, changed on the event loop only and turned into Prometheus' families when they are asked for: a
request costs a microsecond of counting instead of ten.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

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

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
DECADES = [round(10 ** (step / 5), 9) for step in range(-15, 31)]
VALUES = (*(-edge for edge in reversed(DECADES)), 0.0, *DECADES)
MOST_LABELS = 200
OTHER = "other"
NAMES = ("endpoint", "release")


class Buckets:
    """A histogram: how many observations up to each edge, and their sum."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges, self.counts, self.sum = edges, [0] * (len(edges) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.sum += value

    def pairs(self) -> list[tuple[str, float]]:
        """`(upper edge, observations up to it)`, as Prometheus wants them."""
        totals = np.cumsum(self.counts).tolist()
        edges = [*map(str, map(float, self.edges)), "+Inf"]
        return list(zip(edges, totals, strict=True))


class Metrics(Collector):
    """Counters of one release at one endpoint; `release` is None for a bento that is served by itself.

    Args:
        endpoint: the endpoint's name.
        release: the release's number.
        labels: a classifier's classes in the order of its outputs; empty for a regressor.
    """

    def __init__(self, endpoint: str, release: int | None, labels: Sequence[str] = ()) -> None:
        self._values = [endpoint, "" if release is None else str(release)]
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(self)
        self._labels = labels
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._errors: defaultdict[str, int] = defaultdict(int)
        self._classes = [0] * len(labels)
        self._predicted = Buckets(VALUES)
        self._seconds, self._model, self._batch = Buckets(SECONDS), Buckets(SECONDS), Buckets(ROWS)
        self.gauges: dict[str, Callable[[], float]] = {}

    def count(self, route: str, code: int) -> None:
        """Count one answered request."""
        self._requests[route, code] += 1

    def failed(self, kind: str) -> None:
        """Count one prediction request that got no prediction."""
        self._errors[kind] += 1

    def predicted(self, values: NDArray[np.float32], model: float, seconds: float) -> None:
        """Count one answered prediction request.

        Args:
            values: the predictions, `(n, classes)` or `(n, outputs)`.
            model: seconds in transforms and model.
            seconds: seconds from the request's start to its answer.
        """
        self._seconds.observe(seconds)
        self._model.observe(model)
        self._batch.observe(len(values))
        if not self._labels:
            for value in values[:, 0].tolist():
                self._predicted.observe(value)
        elif len(values) == 1:
            self._classes[int(values.argmax())] += 1
        else:
            for place, count in enumerate(np.bincount(values.argmax(axis=1)).tolist()):
                self._classes[place] += count

    def add(self, collector: Collector) -> None:
        """Put someone else's counters on the page too."""
        self._registry.register(collector)

    def page(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """All families, as they stand."""
        requests = _counter("tidegate_requests", "HTTP requests by route and status", "route", "code")
        for (route, code), count in list(self._requests.items()):
            requests.add_metric([*self._values, route, str(code)], count)
        yield requests
        errors = _counter("tidegate_errors", "Prediction requests without a prediction, by kind", "type")
        for kind, count in list(self._errors.items()):
            errors.add_metric([*self._values, kind], count)
        yield errors
        rows = _counter("tidegate_predicted_rows", "Rows predicted")
        rows.add_metric(self._values, self._batch.sum)
        yield rows
        yield from self._distributions()
        for name, value in self.gauges.items():
            gauge = GaugeMetricFamily(f"tidegate_{name}", GAUGES[name], labels=NAMES)
            gauge.add_metric(self._values, value())
            yield gauge

    def _distributions(self) -> Iterable[Metric]:
        yield self._histogram(
            "request_seconds", "Seconds from a request's start to its prediction", self._seconds
        )
        yield self._histogram("model_seconds", "Seconds of it in transforms and model", self._model)
        yield self._histogram("batch_rows", "Rows of a request", self._batch)
        if not self._labels:
            yield self._histogram("prediction_value", "Predicted numbers, the first output", self._predicted)
            return
        classes = _counter("tidegate_predictions", "Predicted rows by class", "label")
        for label, count in zip(self._labels[:MOST_LABELS], self._classes, strict=False):
            classes.add_metric([*self._values, label], count)
        if len(self._labels) > MOST_LABELS:
            classes.add_metric([*self._values, OTHER], sum(self._classes[MOST_LABELS:]))
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
    "unwatched_requests": "Answered requests that drift does not know of, because its queue was full",
}


def _counter(name: str, words: str, *more: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, words, labels=[*NAMES, *more])
