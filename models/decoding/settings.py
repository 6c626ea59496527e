"""Settings for decoding texts and boxes: plain data in the experiment, in the bundle and, partly, in a request."""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST_TOKENS = 4096  # per text
MOST_BOXES = 1000  # per image


class Decoding(BaseModel):
    """How a text is generated."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    method: Literal["greedy", "beam", "sample"] = Field(
        "greedy",
        description="the most probable token at each step; the best of several texts; or tokens drawn at random",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=MOST_TOKENS,
        description="the largest number of tokens in a text; the target's length when not given",
    )
    width: int = Field(4, ge=1, le=64, description="texts that beam keeps at each step")
    length_penalty: float = Field(
        0.0,
        ge=0,
        le=4,
        description="beam compares log-probability / length ** this; a higher value favours longer texts",
    )
    temperature: float = Field(1.0, ge=0, le=100, description="sample is more random above 1, greedy at 0")
    top_k: int | None = Field(
        None, ge=1, description="sample draws among this many of the most probable tokens; all when not given"
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=(1 << 63) - 1,
        description="sample repeats its draws with the same seed; different draws each time when not given",
    )


DEFAULT_DECODING = Decoding.model_construct()


class Detection(BaseModel):
    """Which boxes are returned."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    score: float = Field(0.5, ge=0, le=1, description="boxes with a lower score are not returned")
    iou: float = Field(
        0.5,
        ge=0,
        le=1,
        description="if two boxes of a class overlap by more than this, only the better one stays",
    )
    vote: float | None = Field(
        None,
        ge=0.1,
        le=1,
        description="each returned box is the score-weighted mean of all boxes that overlap it by at least this; no "
        "averaging when not given",
    )
    max_boxes: int = Field(100, ge=1, le=MOST_BOXES, description="the largest number of boxes per image")


DEFAULT_DETECTION = Detection.model_construct()
DecodingSettings: TypeAlias = Decoding | Detection


@cache
def _either() -> TypeAdapter[DecodingSettings]:
    return TypeAdapter(DecodingSettings)


def parse_decoding_settings(text: str) -> DecodingSettings:
    """Read the settings that `model_dump_json` wrote."""
    return _either().validate_json(text)
