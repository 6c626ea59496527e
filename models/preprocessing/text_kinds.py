"""Strings that are no categories: ids, paths, numbers with a unit, dates with a mistake; refused in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from tidegate.models.data.data_warnings import tell
from tidegate.models.data.dates import date_format, seconds_of
from tidegate.models.errors import SchemaError

FEW_ROWS = 50  # with fewer rows every value may stand once
MOST_SHARE = 0.5  # of distinct values
MOST = 0.9  # of the values that must look like something else
NUMBER = r"[-+]?\d{1,3}(?:[.,' \u00a0]\d{3})+(?:[.,]\d+)?|[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?"
UNIT = r"[^\W\d_]{1,4}\.?|[%€$£¥°]+[^\W\d_]?|[^\W\d_]{1,4}/[^\W\d_]{1,4}|[^\W\d_]{1,3}[²³]"
CURRENCY = r"[-+]?[€$£¥]|[A-Z]{3}\s"
QUANTITY = re.compile(rf"(?:{CURRENCY})?\s?(?:{NUMBER})\s?(?:{UNIT})?")
PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
IMAGE = re.compile(r".*\.(?:png|jpe?g|bmp|gif|webp|tiff?)", re.IGNORECASE)
SOUND = re.compile(r".*\.(?:wav|mp3|flac|ogg|m4a)", re.IGNORECASE)
# Of `strptime`, which takes "5" for %d too, and any case for %b.
PATTERNS = (
    *(f"{day}{time}" for day in ("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
      "%a, %d %b %Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y") for time in ("", " %H:%M", " %H:%M:%S")),
    *(f"{day} %I:%M{second} %p" for day in ("%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d") for second in ("", ":%S")),
    "%b %Y", "%B %Y", "%Y-%m",
)  # fmt: skip


def hardly_repeats(distinct: int, present: int) -> bool:
    """Whether so many of the values stand once that they cannot be learned as categories."""
    return present >= FEW_ROWS and distinct > MOST_SHARE * present


def refuse_hardly_repeating(name: str, values: Sequence[str]) -> NoReturn:
    """Raise the error of a column of strings that hardly repeat.

    Raises:
        SchemaError: always; says what the values look like and what to do.
    """
    shown = f"{len(set(values))} different texts in {len(values)} rows, such as {values[0]!r}"
    leave = f"leave it out with data.inputs, or state {{name: {name}, kind: categorical}}, or id or text"
    if mostly(values, IMAGE.fullmatch):
        raise SchemaError(
            f"column {name!r} holds {shown}: names of image files, which a table is not read with; expected the images "
            "themselves; put them into one folder per class, name that folder as data.source, with format: image_folder"
        )
    if mostly(values, SOUND.fullmatch):
        raise SchemaError(
            f"column {name!r} holds {shown}: names of sound files, which a table is not read with; expected the sounds "
            "themselves; put .wav files into one folder per class, name that folder as data.source, with format: "
            "audio_folder"
        )
    if mostly(values, PLAIN.fullmatch):
        raise SchemaError(
            f"column {name!r} holds {shown}: texts that are numbers; expected numbers; state {{name: {name}, kind: "
            f"numeric}} if they are quantities, or {leave}"
        )
    if mostly(values, is_quantity):
        raise SchemaError(
            f"column {name!r} holds {shown}: numbers with a unit, a currency or separated thousands; expected plain "
            f"numbers; remove what is not part of the number, or {leave}"
        )
    wrong = [value for value in values if date_format([value]) is None]
    if len(wrong) <= (1 - MOST) * len(values):
        what = (
            f"{len(wrong)} that are none, such as {wrong[0]!r}"
            if wrong
            else "they are written in several ways"
        )
        raise SchemaError(
            f"column {name!r} holds {shown}: dates, but {what}; expected dates written in one way; correct the column, "
            f"or {leave}"
        )
    pattern = _date_pattern(values)
    if pattern is not None:
        raise SchemaError(
            f"column {name!r} holds {shown}: dates, written in another way than year_first, day_first or month_first; "
            f"expected to know how; state {{name: {name}, kind: date, format: '{pattern}'}}, or {leave}"
        )
    raise SchemaError(
        f"column {name!r} holds {shown}; expected categories, which repeat: values that stand once or twice cannot be "
        f"learned as such; {leave}"
    )


def check_classes(name: str, values: Sequence[str], distinct: int, present: int, stated: bool) -> None:
    """Refuse texts as classes that hardly repeat; tell of those that are numbers with a unit.

    Args:
        name: of the target.
        values: its texts, or only the different ones.
        distinct, present: how many are different, and how many rows have one.
        stated: the task is, so that they are meant.

    Raises:
        SchemaError: nearly every row has a text of its own, and no task was stated.
    """
    quantities = distinct > 2 and mostly(values, is_quantity)
    what = f"target {name!r} holds {distinct} different texts in {present} rows, such as {values[0]!r}"
    unit = ": numbers with a unit, a currency or separated thousands" if quantities else ""
    if hardly_repeats(distinct, present) and not stated:
        number = "remove what is not part of the number, or " if quantities else "choose another target, or "
        raise SchemaError(
            f"{what}{unit}; expected classes, which repeat, or plain numbers; {number}state data.task: classification "
            "if they are classes"
        )
    if quantities:
        tell(
            f"{what}{unit}, and was taken for classes; if it is a quantity, remove what is not part of the number and "
            "state data.task: regression"
        )


def _date_pattern(values: Sequence[str]) -> str | None:
    """A pattern of `datetime.strptime` that nearly all of these texts fit, of the usual ones."""
    return next((one for one in PATTERNS if mostly(values, partial(seconds_of, written=one))), None)


def mostly(values: Sequence[str], fits: Callable[[str], object]) -> bool:
    """Whether nearly all values fit."""
    some = values[:: max(1, len(values) // 1000)]
    return sum(bool(fits(value)) for value in some) >= MOST * len(some)


def is_quantity(text: str) -> bool:
    """Whether a text is a number with a unit, a currency, thousands or a decimal comma; not a plain number."""
    stripped = text.strip()
    return bool(QUANTITY.fullmatch(stripped)) and not PLAIN.fullmatch(stripped)
