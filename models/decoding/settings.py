"""How texts and boxes are decoded: plain data, in the experiment, in the bundle and, in part, in a request."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST_TOKENS = 4096  # of one text
MOST_BOXES = 1000  # of one image


class Decoding(BaseModel):
    """Which of the texts that a model finds probable is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["greedy", "beam", "sample"] = Field(
        "greedy",
        description="the most probable token each time; the best of several texts; or tokens drawn at random",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=MOST_TOKENS,
        description="tokens of an answer at most; the target's length when not given",
    )
    width: int = Field(4, ge=1, le=64, description="texts that beam goes on with")
    length_penalty: float = Field(
        0.0,
        ge=0,
        le=4,
        description="beam compares log-probability / length ** this; longer ones gain with it",
    )
    temperature: float = Field(1.0, ge=0, le=100, description="sample is more daring above 1, greedy at 0")
    top_k: int | None = Field(None, ge=1, description="sample draws among so many tokens; all when not given")
    seed: int | None = Field(
        None,
        ge=0,
        le=(1 << 63) - 1,
        description="sample repeats its draws for the same text; none when not given",
    )


DEFAULT_DECODING = Decoding.model_validate({})  # where nothing else is said


class Detection(BaseModel):
    """Which of the boxes that a model finds probable are answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(0.5, ge=0, le=1, description="boxes that score less are not answered")
    iou: float = Field(
        0.5,
        ge=0,
        le=1,
        description="of two boxes of a class that overlap by more than this the better one stays",
    )
    vote: float | None = Field(
        None,
        ge=0.1,
        le=1,
        description="a box that stays becomes the mean of all that overlap it by so much, by their scores; as it is "
        "when not given",
    )
    max_boxes: int = Field(100, ge=1, le=MOST_BOXES, description="boxes of an image at most, the best ones")


DEFAULT_DETECTION = Detection.model_validate({})  # where nothing else is said
DecodingSettings: TypeAlias = Decoding | Detection
_EITHER: TypeAdapter[DecodingSettings] = TypeAdapter(DecodingSettings)


def parse_decoding_settings(text: str) -> DecodingSettings:
    """What `model_dump_json` of either wrote."""
    return _EITHER.validate_json(text)
