"""What an endpoint counts, for Prometheus: its own registry, every child bound before the first request."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one release at one endpoint; `release` is None for a bento that is served by itself."""

    def __init__(self, endpoint: str, release: int | None) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._labels = (endpoint, "" if release is None else str(release))
        names = ("endpoint", "release")
        self._requests = Counter(
            "tidegate_requests",
            "HTTP requests by route and status",
            (*names, "route", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tidegate_predict_seconds",
            "Seconds from a /predict request's last byte to its answer",
            names,
            buckets=SECONDS,
            registry=self._registry,
        ).labels(*self._labels)
        self._rows = Counter(
            "tidegate_predicted_rows", "Rows predicted", names, registry=self._registry
        ).labels(*self._labels)
        self._ready = Gauge("tidegate_ready", "1 while the endpoint is ready", names, registry=self._registry)
        self._bound = {("/predict", 200): self._child("/predict", 200)}

    def count(self, route: str, code: int) -> None:
        """Count one answered request."""
        child = self._bound.get((route, code))
        if child is None:
            child = self._bound[route, code] = self._child(route, code)
        child.inc()

    def predicted(self, rows: int, seconds: float) -> None:
        """Count one answered prediction request."""
        self._rows.inc(rows)
        self._seconds.observe(seconds)

    def ready(self, is_ready: bool) -> None:
        """Set the readiness gauge."""
        self._ready.labels(*self._labels).set(is_ready)

    def page(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _child(self, route: str, code: int) -> Counter:
        return self._requests.labels(*self._labels, route, str(code))
