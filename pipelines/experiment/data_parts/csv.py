"""The part of the experiment file that says how CSV files are written."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from tidegate.pipelines.experiment.part import Part


class Csv(Part):
    """The dialect of CSV; what is not stated is found out from the files, and said where it is not the usual one."""

    delimiter: str | None = Field(None, description="between cells: one character, or tab")
    decimal: Literal[".", ","] | None = Field(None, description="the mark before a number's fraction")
    thousands: Literal["", ".", ",", " ", "'"] | None = Field(
        None, description='the mark between thousands of a number; "" for none'
    )
    quote: Literal['"', "'", ""] | None = Field(None, description='the mark around cells; "" for none')
    encoding: str | None = Field(None, description="such as cp1250; a name that Python knows")
    missing: list[str] | None = Field(
        None,
        description="cells that stand for a missing value, in columns of any kind, beside empty ones; matched as they "
        "are written: NA is not na; the usual ones, such as NA or na, in columns of numbers when not given",
    )

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        known = "\t" if value in ("tab", "\\t") else value
        if known is not None and len(known) != 1:
            raise ValueError(f"{value!r} is {len(known)} characters; expected one, or tab; correct it")
        return known

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError(
                f"{value!r} is not known; expected one such as utf-8 or cp1250; correct it"
            ) from None
        return value

    def problems(self) -> Iterator[str]:
        marks = {"decimal": self.decimal, "thousands": self.thousands, "delimiter": self.delimiter}
        for first, second in (("decimal", "thousands"), ("delimiter", "quote")):
            value = marks.get(first)
            if value and value == {**marks, "quote": self.quote}[second]:
                yield f"{first} and {second} are both {value!r}; expected two different marks; correct one"
