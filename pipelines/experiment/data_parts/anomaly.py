"""The part of the experiment file that makes rows unlike the usual ones what is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from tidegate.pipelines.experiment.part import Part

if TYPE_CHECKING:
    from tidegate.pipelines.experiment.data import Data


class Anomaly(Part):
    """The model learns to answer its input, and a row that it answers badly is an anomaly."""

    label: str | None = Field(
        None,
        description="a column of 0 and 1 or true and false, no input: rows of 1 are known anomalies, which are not "
        "learned from, and by which test_auc and the like are measured",
    )
    alarms: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="share of the validation rows above the threshold of the score, from which a row is an anomaly",
    )

    def problems_beside(self, data: Data) -> Iterator[str]:
        """What of the other keys of `data` does not go with it."""
        names = [one if isinstance(one, str) else one.name for one in data.target or ()]
        beside = {
            "target": ", ".join(names) or None,
            "task": None if data.task == "reconstruction" else data.task,
            "forecast": data.forecast and "stated",
            "stream": data.stream if data.stream is True else None,
        }
        for key, value in beside.items():
            if value is not None:
                yield f"{key} is {value}, and anomaly is stated, which has none; leave one of the two out"
        if self.label in {entry.name for entry in data.inputs or ()}:
            yield f"anomaly.label is {self.label}, and inputs names it; expected no input; leave it out there"
        if not data.split.validated:
            yield (
                "anomaly is stated, and split.validation is 0; expected validation rows, on which the threshold is "
                "chosen; set it, such as 0.1"
            )
