"""What is found out about a model before it is packaged: plain values, imported by all who only read of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Runtime = Literal["onnx", "tensorflow"]
INLINE_SECONDS = 0.002  # a request that takes no longer is answered at once, by the event loop itself
MOST_TOGETHER = 1024


class Parity(BaseModel):
    """How far the served model's predictions are from the trained one's, over so many held-out rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_abs_difference: float
    tolerance: float
    rows: int

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.max_abs_difference <= self.tolerance


class Batching(BaseModel):
    """How many rows of waiting requests are predicted together, and the speeds measured that say so.

    Attributes:
        rows: of a batch; 1: each request by itself.
        speeds: rows a second by rows of a batch; for 1 as many at a time as there are CPUs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=1, le=MOST_TOGETHER)
    speeds: dict[int, float]

    @property
    def in_words(self) -> str:
        """The decision and its reason."""
        alone = f"{self.speeds[1]:.0f} rows/s one by one"
        if self.rows > 1:
            return f"up to {self.rows} rows together: {self.speeds[self.rows]:.0f} rows/s, {alone}"
        others = ", ".join(f"{speed:.0f} with {rows}" for rows, speed in self.speeds.items() if rows > 1)
        return f"each request by itself: {alone}" + (f", {others} together" if others else "")
