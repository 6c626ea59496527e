"""Which step of a plan comes next: each end of a step is told to those that wait for it, and to no other."""

import heapq
from collections import defaultdict
from collections.abc import Sequence

from tidegate.pipelines.planning.step import Step


class ReadySteps:
    """The steps that have not begun.

    Args:
        steps: of a plan, in its order; of those that are ready, the first in this order comes first.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = dict(enumerate(steps))
        self._missing = {place: len(set(step.after)) for place, step in self._steps.items()}
        self._behind: defaultdict[str, list[int]] = defaultdict(list)
        for place, step in self._steps.items():
            for before in set(step.after):
                self._behind[before].append(place)
        self._ready = [place for place, missing in self._missing.items() if not missing]

    def __len__(self) -> int:
        return len(self._steps)

    def take(self) -> Step | None:
        """The next step whose predecessors have all ended; None: there is none at the moment."""
        return self._steps.pop(heapq.heappop(self._ready)) if self._ready else None

    def has_ended(self, step_id: str) -> None:
        """A step has ended, well or not."""
        for place in self._behind.pop(step_id, ()):
            self._missing[place] -= 1
            if not self._missing[place]:
                heapq.heappush(self._ready, place)
