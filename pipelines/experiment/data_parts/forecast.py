"""The part of the experiment file that makes a series a forecast."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from tidegate.models.preprocessing.forecast.settings import MEDIAN
from tidegate.pipelines.experiment.part import Part


class Forecast(Part):
    """The target is a series in the order of `split.time`, and its next values are forecast from its last ones."""

    past: int = Field(ge=1, description="steps before the moment of the forecast that the model is given")
    horizon: int = Field(ge=1, description="steps from that moment on that are forecast, all at once")
    known: list[str] = Field(
        [], description="inputs that are known for these steps too, as of a calendar or a plan"
    )
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.1, MEDIAN, 0.9],
        min_length=1,
        description="what is answered for each step, ascending; 0.5, the median, is the forecast",
    )
    season: int = Field(
        1, ge=1, description="steps of a season: test_mase compares with the values one season before"
    )
    every: int = Field(
        1,
        ge=1,
        description="held-out rows are forecast from every such moment; all windows of the training part are learned "
        "from",
    )

    def problems(self) -> Iterator[str]:
        if MEDIAN not in self.quantiles:
            yield f"quantiles are {self.quantiles}; expected 0.5 among them, which is the forecast; add it"
        if self.quantiles != sorted(set(self.quantiles)):
            yield f"quantiles are {self.quantiles}; expected each once, ascending; order them"
        if len(set(self.known)) < len(self.known):
            yield f"known has {', '.join(self.known)}; expected each once; leave one out"
