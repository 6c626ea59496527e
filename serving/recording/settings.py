"""What an endpoint records of its requests, as the experiment file and `--record` say it: no part of a server."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tidegate.serving.errors import RecordingError

UNITS = {"h": 3600, "d": 86400}


class Record(BaseModel):
    """Which requests are kept with their answers, how many, and how long."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    share: float = Field(0.05, gt=0, le=1, description="share of the requests, drawn by chance")
    rows_a_day: int = Field(
        10_000, ge=1, le=1_000_000, description="rows of a day (UTC) at most, of all processes of a server"
    )
    keep: Annotated[str, Field(pattern=r"^[1-9]\d{0,4}(h|d)$")] = Field(
        "14d", description="rows that are older are deleted"
    )
    drop: list[str] = Field(
        [], description="inputs that are never kept; without them rows cannot be asked again before a release"
    )
    tolerance: float = Field(
        0.05,
        ge=0,
        le=1,
        description="how far numbers may differ and still agree, as a share of the standard deviation of the recorded "
        "ones; of a class at each place, the share of places that may differ",
    )

    @property
    def seconds(self) -> int:
        """How long rows are kept."""
        return int(self.keep[:-1]) * UNITS[self.keep[-1]]


def check_drop(record: Record, inputs: Iterable[str], repeated: Iterable[str] = ()) -> None:
    """Refuse to drop what is no input, as no request carries anything else, and what the answer may show.

    Args:
        record: the settings.
        inputs: of the model.
        repeated: those that its answers repeat, see `repeated_by`.

    Raises:
        RecordingError: it names the input.
    """
    known = list(inputs)
    unknown = [name for name in record.drop if name not in known]
    if unknown:
        raise RecordingError(
            f"serving.record.drop: {unknown[0]!r} is no input of the model; expected one of: {', '.join(known)}; a "
            "request with any other field is refused, so leave it out"
        )
    shown = [name for name in record.drop if name in [*repeated]]
    if shown:
        raise RecordingError(
            f"serving.record.drop: the model's answer repeats {shown[0]!r}, or goes on from it, and answers are kept; "
            "expected inputs that an answer does not show; leave serving.record out"
        )


def repeated_by(task: str, inputs: Iterable[str], prompt: str | None) -> list[str]:
    """The inputs that the answers of a model repeat: all of one that reconstructs them, the text that is continued."""
    return list(inputs) if task == "reconstruction" else [] if prompt is None else [prompt]
