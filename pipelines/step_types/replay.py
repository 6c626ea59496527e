"""How a release that has no traffic yet answered what the live one had recorded: part of the outputs of `verify`."""

from tidegate.pipelines.step_types.base import StepPart


class Replayed(StepPart):
    """The answers of a candidate to recorded rows, beside those of the live release.

    Attributes:
        live: the number of the live release; None where there is none yet.
        rows: how many were asked.
        agreed: of these, those that were answered alike.
        refused: of these, those that were refused, or not answered; they do not agree.
        first_refused: the status of the first of them, the kind of its error and the input that it is about, and no
            value of a row.
        p99_ms: 99th percentile of the time of a request of one row, in milliseconds, over HTTP on this machine, after
            one that is not counted.
        seconds: that all of it took.
        note: why no row was asked, or no rule applied, and what could not be read; "" where there is nothing to say.
        against: why the gate refuses the release, one sentence each.
    """

    live: int | None
    rows: int = 0
    agreed: int = 0
    refused: int = 0
    first_refused: str = ""
    p99_ms: float = 0.0
    seconds: float = 0.0
    note: str = ""
    against: tuple[str, ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """What the gate may name; {} where no row was asked."""
        if not self.rows:
            return {}
        return {"replay_agreement": self.agreed / self.rows, "replay_p99": self.p99_ms}

    @property
    def summary(self) -> str:
        """All of it in a sentence."""
        if not self.rows:
            return self.note
        told = (
            f"{self.agreed:,} of {self.rows:,} recorded rows answered as release {self.live} did "
            f"({self.agreed / self.rows:.2%}), p99 {self.p99_ms:.3g} ms"
        )
        if self.refused:
            told += f"; {self.refused:,} were refused, the first: {self.first_refused}"
        return f"{told}; {self.note}" if self.note else told
