"""The counters of a release's pods, read from their `/metrics`."""

import http.client
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tidegate.serving.deployment.connections import Trust, page_of

SCRAPE_S = 3.0
PREDICTING = {"/predict", "/v1/predict", "/v2/infer", "grpc"}  # routes that users wait for
COUNTED = "tidegate_requests_total"
DRIFT = "tidegate_drift_psi"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPED = re.compile(r"\\(.)")
T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """Counts of one release, over one pod or several.

    Attributes:
        requests: prediction requests answered; without those whose client disconnected.
        errors: those answered with 5xx.
        latency: upper bound of a bucket in seconds -> requests in it, not cumulative.
        predictions: predicted class, or upper bound of a bucket of values -> rows.
    """

    requests: float = 0
    errors: float = 0
    latency: Counter[float] = field(default_factory=Counter)
    predictions: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Counts") -> "Counts":
        """The sum of both."""
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.latency + other.latency,
            self.predictions + other.predictions,
        )

    def __sub__(self, before: "Counts") -> "Counts":
        """The difference of both."""
        return Counts(
            self.requests - before.requests,
            self.errors - before.errors,
            self.latency - before.latency,
            self.predictions - before.predictions,
        )

    def p99_ms(self) -> float:
        """99th percentile of latency in milliseconds, interpolated within its bucket; 0 without requests."""
        wanted, below, seen = 0.99 * self.latency.total(), 0.0, 0.0
        for bound in sorted(self.latency):
            count = self.latency[bound]
            if count and seen + count >= wanted:
                # Only the lower bound of the last bucket is known.
                share = 0.0 if bound == float("inf") else (wanted - seen) / count
                return 1000 * (below + (0.0 if bound == float("inf") else (bound - below) * share))
            seen, below = seen + count, bound
        return 0.0

    def slower_than(self, limit_ms: float) -> float:
        """Requests that took longer, interpolated within the bucket of the limit."""
        below, slower = 0.0, 0.0
        for bound in sorted(self.latency):
            limit = limit_ms / 1000
            if below >= limit:
                slower += self.latency[bound]
            elif bound > limit and bound != float("inf"):
                slower += self.latency[bound] * (bound - limit) / (bound - below)
            elif bound == float("inf"):
                slower += self.latency[bound]
            below = bound
        return slower


def parse(page: str) -> Counts | None:
    """Parse a page in Prometheus' text format; None if it is not from an endpoint of ours."""
    samples = list(_samples(page))
    if not any(name.startswith("tidegate_") for name, _, _ in samples):
        return None
    requests = errors = 0.0
    latency: dict[float, float] = {}
    predictions: Counter[str] = Counter()
    values: dict[float, float] = {}
    for name, labels, value in samples:
        code = labels.get("code", "")
        if name == COUNTED and labels.get("route") in PREDICTING and code != "499":
            requests += value
            errors += value if code.startswith("5") else 0
        elif name == "tidegate_request_seconds_bucket":
            latency[float(labels["le"])] = latency.get(float(labels["le"]), 0) + value
        elif name == "tidegate_predictions_total":
            predictions[labels["label"]] += int(value)
        elif name == "tidegate_prediction_value_bucket":
            values[float(labels["le"])] = values.get(float(labels["le"]), 0) + value
    predictions.update({str(bound): int(count) for bound, count in _per_bucket(values).items()})
    return Counts(requests, errors, Counter(_per_bucket(latency)), +predictions)


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each line; the driver's image has no library for this."""
    for name, labels, value in SAMPLE.findall(page):
        yield name, {key: ESCAPED.sub(r"\1", text) for key, text in LABEL.findall(labels)}, float(value)


def _per_bucket(cumulative: dict[float, float]) -> dict[float, int]:
    """The count of each bucket, from cumulative counts."""
    found, before = {}, 0.0
    for bound in sorted(cumulative):
        found[bound] = int(cumulative[bound] - before)
        before = cumulative[bound]
    return found


def scrape(servers: Iterable[str], trust: Trust | None = None) -> dict[str, Counts]:
    """Read the metrics of each `http://HOST:PORT` or `https://`; those without a valid answer are left out."""
    return _each(servers, trust, parse)


def largest_drift(servers: Iterable[str], trust: Trust | None = None) -> float | None:
    """The largest drift index that any server has; None where none answers, or all have too few rows yet."""
    return max(_each(servers, trust, _drift).values(), default=None)


def _drift(page: str) -> float | None:
    return max((value for name, _, value in _samples(page) if name == DRIFT), default=None)


def _each(servers: Iterable[str], trust: Trust | None, parsed: Callable[[str], T | None]) -> dict[str, T]:
    found = {}
    for server in servers:
        try:
            value = parsed(page_of(server, "/metrics", SCRAPE_S, trust))
        except (OSError, ValueError, http.client.HTTPException):
            continue
        if value is not None:
            found[server] = value
    return found


def since(before: dict[str, Counts], now: dict[str, Counts]) -> Counts:
    """What all pods together counted since `before`; a new pod counts from zero."""
    return sum((counts - before.get(address, Counts()) for address, counts in now.items()), Counts())
