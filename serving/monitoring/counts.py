"""The numbers behind an endpoint's metrics: counters and histograms that can be added up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
DECADES = [round(10 ** (step / 5), 9) for step in range(-15, 31)]
VALUES = (*(-edge for edge in reversed(DECADES)), 0.0, *DECADES)


class Buckets:
    """A histogram: how many observations up to each edge, and their sum."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges, self.sum = edges, 0.0
        self.counts = np.zeros(len(edges) + 1, np.int64)

    def observe(self, values: ArrayLike) -> None:
        """Count values."""
        array = np.asarray(values, np.float64)
        places = np.searchsorted(self.edges, array)
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.sum += float(array.sum())

    def add(self, other: "Buckets") -> None:
        """Count what another one with the same edges counted."""
        self.counts = self.counts + other.counts
        self.sum += other.sum

    def pairs(self) -> list[tuple[str, float]]:
        """`(upper edge, observations up to it)`, in Prometheus' format."""
        totals = np.cumsum(self.counts).tolist()
        edges = [*map(str, map(float, self.edges)), "+Inf"]
        return list(zip(edges, totals, strict=True))


@dataclass
class Counts:
    """What a process counted since it began to serve.

    Attributes:
        classes: predicted rows by class, int64 `(classes,)`.
        requests: by route and status.
        errors: prediction requests without a prediction, by kind.
        unseen: rows whose category or id training did not know, by field.
        proofs: by golden rows, by result.
        predicted: predicted numbers, the first output.
        seconds, model: of a request, and of it in transforms and model.
        batch: rows of a request.
    """

    classes: NDArray[np.int64]
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)
    proofs: Counter[str] = field(default_factory=Counter)
    predicted: Buckets = field(default_factory=lambda: Buckets(VALUES))
    seconds: Buckets = field(default_factory=lambda: Buckets(SECONDS))
    model: Buckets = field(default_factory=lambda: Buckets(SECONDS))
    batch: Buckets = field(default_factory=lambda: Buckets(ROWS))

    def add(self, other: "Counts") -> None:
        """Add what another process counted; the other one is not changed."""
        self.classes = self.classes + other.classes
        self.requests.update(other.requests)
        self.errors.update(other.errors)
        self.unseen.update(other.unseen)
        self.proofs.update(other.proofs)
        for histogram in ("predicted", "seconds", "model", "batch"):
            getattr(self, histogram).add(getattr(other, histogram))
