"""How many rows were recorded and how many were not, for `/metrics`, over all processes of a server."""

from collections import Counter
from collections.abc import Hashable, Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from tidegate.serving.monitoring.metrics import NAMES
from tidegate.serving.monitoring.sharing import Part

PART = "record"
RECORDED = "recorded"
REASONS = {
    "day": "rows_a_day is reached",
    "large": "of a request of more rows than are kept of one",
    "queue": "too many waited for being written",
    "write": "they could not be written",
    "forgotten": "they were to be forgotten before they were written",
    "failed": "they could not be converted",
}


class Counted(Part):
    """Counts rows. Each of the counts is changed by one thread only.

    Args:
        endpoint: its name.
        release: its number; None where it has none.
    """

    def __init__(self, endpoint: str, release: int | None) -> None:
        self._labels = [endpoint, "" if release is None else str(release)]
        self._counts = Counter(dict.fromkeys((RECORDED, *REASONS), 0))

    def recorded(self, rows: int) -> None:
        """Rows are on the disk."""
        self._counts[RECORDED] += rows

    def skipped(self, reason: str, rows: int) -> None:
        """Rows of requests that were chosen are not kept."""
        self._counts[reason] += rows

    def state(self) -> Counter[str]:
        """What this process counted."""
        return Counter(self._counts)

    def restore(self, state: Counter[str]) -> None:
        """Go on from what a process counted that ended."""
        self._counts.update(state)

    def fingerprint(self) -> Hashable:
        """All counts."""
        return tuple(self._counts.values())

    def collect(self) -> Iterable[Metric]:
        """The families, with the sums of all processes."""
        total = self.state()
        for state, _ in self.sharing.others(PART) if self.sharing is not None else ():
            total.update(state)
        rows = CounterMetricFamily("tidegate_recorded_rows", "Rows recorded with their answers", labels=NAMES)
        rows.add_metric(self._labels, total[RECORDED])
        yield rows
        skipped = CounterMetricFamily(
            "tidegate_record_skipped",
            "Rows of requests chosen for recording that are not kept, by reason",
            labels=[*NAMES, "reason"],
        )
        for reason in REASONS:
            skipped.add_metric([*self._labels, reason], total[reason])
        yield skipped
