"""How often each value occurs, in rows that come in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MOST_COUNTED = 500_000  # distinct words or categories; beyond it the rarest are dropped from time to time


class Frequencies:
    """Counts each value; if there are too many distinct ones, the rarest half is dropped."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, values: Iterable[str]) -> None:
        """Count more values."""
        self._counts.update(values)
        if len(self._counts) > MOST_COUNTED:
            self._counts = Counter(dict(self._counts.most_common(MOST_COUNTED // 2)))

    def total(self, values: Iterable[str]) -> int:
        """How often these values were counted together."""
        return sum(self._counts[value] for value in values)

    def ranked(self) -> list[str]:
        """The values, the most frequent first, equally frequent ones by name."""
        return sorted(self._counts, key=lambda value: (-self._counts[value], value))
