"""What is measured of a model before it is packaged: plain values, for modules that need no more than these."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Runtime = Literal["onnx", "tensorflow"]
INLINE_SECONDS = 0.002  # a request that takes no longer is answered by the event loop itself
MAX_BATCH_ROWS = 1024


class Parity(BaseModel):
    """How far the served model's predictions differ from the trained one's, over `rows` held-out rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_abs_difference: float
    tolerance: float
    rows: int

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.max_abs_difference <= self.tolerance


class Batching(BaseModel):
    """How many rows of waiting requests are predicted together, and the measured speeds that decided it.

    Attributes:
        rows: of a batch; 1: each request by itself.
        speeds: rows per second by rows of a batch; for 1, as many requests at a time as there are CPUs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=1, le=MAX_BATCH_ROWS)
    speeds: dict[int, float]

    @property
    def summary(self) -> str:
        """The decision and its reason."""
        alone = f"{self.speeds[1]:.0f} rows/s one by one"
        if self.rows > 1:
            return f"up to {self.rows} rows together: {self.speeds[self.rows]:.0f} rows/s, {alone}"
        others = ", ".join(f"{speed:.0f} with {rows}" for rows, speed in self.speeds.items() if rows > 1)
        return f"each request by itself: {alone}" + (f", {others} together" if others else "")
