"""What is measured of a model before it is packaged: plain values, for modules that need no more than these."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Runtime = Literal["onnx", "tensorflow"]
INLINE_SECONDS = 0.002  # a request that takes no longer is answered by the event loop itself
MAX_BATCH_ROWS = 1024
# The kinds of `models.probing.probe_rows`, in words.
PROBES = {
    "held-out": "a held-out row",
    "mixed": "a row between two held-out ones",
    "boundary": "a row at the boundary between two classes",
    "near": "a row near a held-out one",
    "extreme": "a row at the limits of the contract",
    "covering": "a row that covers categories, words or ids",
}


class Parity(BaseModel):
    """How far the served model's predictions differ from the trained one's, over `rows` held-out rows."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    max_abs_difference: float
    tolerance: float
    rows: int

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.max_abs_difference <= self.tolerance


class Probed(BaseModel):
    """How far the served model is from the trained one for probes, see `models.probing`.

    Attributes:
        rows: compared.
        max_abs_difference: of the answers.
        share: of the difference that is allowed, in the worst row: in its answer, or before its last activation.
        different: rows in which more than the allowed difference was found.
        kind: of the worst row, as "boundary".
        row: its place.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    rows: int
    max_abs_difference: float
    share: float
    different: int = 0
    kind: str = ""
    row: int = 0

    @property
    def passed(self) -> bool:
        """Whether the difference is within what is allowed in every row."""
        return self.different == 0

    @property
    def summary(self) -> str:
        """How far, in words."""
        if self.passed:
            return f"within {self.share:.2g} of what is allowed on {self.rows} probes"
        what = PROBES.get(self.kind, self.kind)
        far = f"answers up to {self.max_abs_difference:.3g} apart, {self.share:.3g} times what is allowed"
        return f"{self.different} of {self.rows} probes differ, {far}; the worst is {what}"


class Batching(BaseModel):
    """How many rows of waiting requests are predicted together, and the measured speeds that decided it.

    Attributes:
        rows: of a batch; 1: each request by itself.
        speeds: rows per second by rows of a batch; for 1, as many requests at a time as there are CPUs.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

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
