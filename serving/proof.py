"""The proof of parity: plain values, imported by all who only read of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Runtime = Literal["onnx", "tensorflow"]


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
