"""The record of a run that is being driven: in memory, and in its folder for whoever reads it meanwhile.

A record of a few steps is written at each change. One of thousands would take longer and longer, so it is written once
per second at most, and for a fiftieth of the time at most; what a killed driver did not write is in the store all the
same, and its next driver finds it there.
"""

import time
from typing import Any

from tidegate.pipelines.state.home import RunFolder, RunRecord, StepRecord

FEW_STEPS = 100
PAUSE_S = 1.0  # between two writes of a record with more steps
SHARE = 50  # and it is at least so many times what the last write took


class KeptRecord:
    """One run's record; its driver alone changes it.

    Args:
        folder: the run's.
        record: as it is now; by default as the folder has it.
    """

    def __init__(self, folder: RunFolder, record: RunRecord | None = None) -> None:
        self._folder = folder
        self._record = record or folder.read()
        self._steps = {step.id: step for step in self._record.steps}
        self._due = 0.0
        self._changed = False

    @property
    def run(self) -> RunRecord:
        """The record without its steps: status, reason and the like."""
        return self._record

    def update(self, **changes: Any) -> None:
        """Change fields, or all steps, and write the record."""
        self._record = self._record.model_copy(update=changes)
        if "steps" in changes:
            self._steps = {step.id: step for step in changes["steps"]}
        self.write()

    def set_step(self, step: StepRecord) -> None:
        """Replace a step; it is the last one then: the record has them in the order in which they changed."""
        self._steps.pop(step.id, None)
        self._steps[step.id] = step
        self._changed = True
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write what has changed, if enough time has passed since the last write."""
        if self._changed and (len(self._steps) <= FEW_STEPS or time.monotonic() >= self._due):
            self.write()

    def write(self) -> None:
        """Write it now."""
        began = time.thread_time()
        self._folder.write(self._record.model_copy(update={"steps": list(self._steps.values())}))
        self._changed = False
        self._due = time.monotonic() + max(PAUSE_S, SHARE * (time.thread_time() - began))
