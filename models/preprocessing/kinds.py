"""What a column is taken for where no kind is stated, and the options that fit a kind.

Strings: dates, if all are dates written in one way; texts, if they have more than three words on average; categories,
if they repeat; else the column is refused, because one-hot of values that do not repeat learns nothing. Numbers: uint8
and uint16 rows of shape (h, w) or (h, w, c) are images; rows of whole numbers that look like ids of words are ids; all
others are numeric.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from tidegate.models.data.columns import Array
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.dates import ORDERS, date_format, seconds_of, usual_order
from tidegate.models.data.item_lists import LISTS, WRITTEN
from tidegate.models.errors import SchemaError, nearest_name
from tidegate.models.preprocessing.encoding.date_columns import check_nearly_dates
from tidegate.models.preprocessing.encoding.number_scale import check_magnitudes
from tidegate.models.preprocessing.encoding.text_rules import has_no_spaces, words_of
from tidegate.models.preprocessing.schema import DatePart
from tidegate.models.preprocessing.text_kinds import hardly_repeats, refuse_hardly_repeating

TEXT_WORDS = 3.0  # strings with more words than this on average are texts
SENTENCE_LETTERS = 6.0  # the same of letters, where no spaces are between words and nothing repeats
LEAST_IDS = 20  # an array of fewer distinct numbers is no array of ids
# The kinds that an option of an input may be stated for.
OPTIONS: dict[str, tuple[str, ...]] = {
    "tokens": ("text",),
    "length": WRITTEN,
    "vocabulary": ("text", "id", *LISTS),
    "hashed": ("id", "ids"),
    "scale": ("numeric", "image"),
    "limit": ("categorical",),
    "other": ("categorical",),
    "unknown": ("id",),
    "format": ("date",),
    "encode": ("date",),
    "missing": ("numeric", "categorical", "text", "id", "date", *LISTS),
}


def inferred_kind(name: str, column: Array, counts: tuple[int, int] | None = None) -> str:
    """The kind of a column whose kind is not stated.

    Args:
        name, column: the column's.
        counts: distinct values and rows with a value, if `column` has only some of the rows.

    Raises:
        SchemaError: strings that hardly repeat and are neither dates nor texts.
    """
    if column.dtype == object:
        return _kind_of_strings(name, column, counts)
    if column.dtype in (np.uint8, np.uint16) and column.ndim in (3, 4):
        return "image"
    if column.ndim > 1 and column.dtype.kind in "iu" and column.dtype != np.uint8:
        return _kind_of_whole_numbers(name, column)
    return "numeric"


def stated_options(name: str, kind: str, entry: Mapping[str, Any], column: Array) -> dict[str, Any]:
    """The options of an input, checked, and the format of a date.

    Raises:
        SchemaError: an option does not fit the kind or the values.
    """
    options = {key: entry[key] for key in OPTIONS if entry.get(key) is not None}
    if kind in OPTIONS["scale"] and entry.get("scale_of_all") is not None:
        options.setdefault("scale", entry["scale_of_all"])
    rule = _rule_for_missing(kind, column, entry.get("missing_of_all"))
    options |= {} if "missing" in options or rule is None else {"missing": rule}
    wrong = [key for key in options if kind not in OPTIONS[key]]
    if wrong:
        fitting = " or ".join(sorted({one for key in wrong for one in OPTIONS[key]}))
        raise SchemaError(
            f"input {name!r} is {kind} and has {', '.join(wrong)}; expected them only for {fitting}; leave them out"
        )
    if options.get("missing") == "own" and (column.ndim > 1 or kind in WRITTEN):
        raise SchemaError(
            f"input {name!r} has missing: own; expected it for a number, a category, an id or a date, one a row; "
            "set zero"
        )
    if options.get("missing") == "mean" and kind != "numeric":
        raise SchemaError(
            f"input {name!r} is {kind} and has missing: mean; expected zero or own, because only numbers have a mean; "
            "change it"
        )
    if "unknown" in options and column.ndim == 1:
        raise SchemaError(
            f"input {name!r} holds one id per row and has unknown: {options['unknown']}; expected it only for lists "
            "of ids, because the unknown one of single ids is 0; leave it out"
        )
    if options.get("unknown", 0) >= options.get("vocabulary", math.inf):
        raise SchemaError(
            f"input {name!r} has unknown: {options['unknown']} and vocabulary: {options['vocabulary']}; expected "
            "unknown to be one of the ids, 0 up to vocabulary - 1; set a smaller unknown, or a larger vocabulary"
        )
    _check_hashed(name, options, column)
    if kind == "numeric":
        check_magnitudes(name, options.get("scale"), column)
    if kind == "image":
        options["upright"] = True
        if options.get("scale") not in (None, "none"):
            raise SchemaError(
                f"input {name!r} is an image and has scale: {options['scale']}; expected none, for the stored numbers; "
                "change it, or leave it out for 0 to 1"
            )
    if kind == "date":
        options["format"] = _date_format(name, column, options.get("format"))
        _check_parts(name, options.get("encode"))
    return options


def _rule_for_missing(kind: str, column: Array, stated: str | None) -> str | None:
    """The rule that was stated for all inputs, as far as this one has it."""
    if stated is None or kind not in OPTIONS["missing"] or (kind == "id" and column.ndim > 1):
        return None
    if kind != "numeric":
        return "zero" if stated == "mean" or kind in WRITTEN else stated
    return "mean" if stated == "own" and column.ndim > 1 else stated


def whole_dtype(name: str, kind: str, column: Array) -> str:
    """The dtype of numbers; int64 for whole ones that missing values made floats.

    Raises:
        SchemaError: kind is integer or id, and a number is not whole.
    """
    if kind not in ("integer", "id") or column.dtype.kind != "f":
        return str(column.dtype)
    odd = column[np.isfinite(column) & (column != np.floor(column))]
    if odd.size:
        raise SchemaError(
            f"input {name!r} has kind {kind} and holds {float(odd.flat[0])!r}; expected whole numbers; set kind: "
            "number, or round the column"
        )
    return "int64"


def _check_hashed(name: str, options: Mapping[str, Any], column: Array) -> None:
    if "hashed" not in options:
        return
    other = next((key for key in ("vocabulary", "unknown") if key in options), None)
    if other is not None or options.get("missing") == "own":
        raise SchemaError(
            f"input {name!r} has hashed: {options['hashed']} and {other or 'missing'}: "
            f"{options[other or 'missing']}; expected one of both, because a hashed id is never unknown; leave one out"
        )
    if column.ndim > 1:
        raise SchemaError(
            f"input {name!r} holds lists of {column.shape[1]} numbers and has hashed; expected one id a row, or kind: "
            "ids; set that kind"
        )


def _check_parts(name: str, stated: Sequence[str] | None) -> None:
    known = get_args(DatePart)
    if stated is None or (len(stated) == len(set(stated)) > 0 and set(stated) <= set(known)):
        return
    raise SchemaError(
        f"input {name!r} has encode: [{', '.join(map(str, stated))}]; expected some of {', '.join(known)}, each once; "
        "correct it, or leave it out for the usual ones"
    )


def _date_format(name: str, column: Array, stated: str | None) -> str:
    if stated is not None and stated not in ORDERS and "%" not in stated:
        near = nearest_name(stated, ORDERS)
        raise SchemaError(
            f"input {name!r} has format: {stated}; expected {', '.join(ORDERS)} or a pattern such as '%d %b %Y'; "
            + (f"did you mean {near}?" if near else "correct it, or leave it out")
        )
    values = [value for value in column.tolist() if value is not None]
    found = stated or date_format(values)
    if not found:
        if usual := found is None and usual_order(Counter(values)):
            check_dates(name, column, usual)
        example = f", such as {values[0]!r}" if values else ""
        what = (
            "dates whose day and month cannot be told apart" if found == "" else "not only dates of one form"
        )
        raise SchemaError(
            f"input {name!r} has kind date and holds {what}{example}; expected one form; state format: "
            f"{', '.join(ORDERS)} or a pattern such as '%d %b %Y'"
        )
    check_dates(name, column, found)
    return found


def check_dates(name: str, column: Array, written: str) -> None:
    """Refuse a column with a value that is no date of this format.

    Raises:
        SchemaError: names the value.
    """
    values = dict.fromkeys(value for value in column.tolist() if value is not None)
    wrong = next((value for value in values if seconds_of(value, written) is None), None)
    if wrong is not None:
        raise SchemaError(
            f"input {name!r} has kind date, format {written}, and holds {wrong!r}; expected dates of that format; "
            "correct the cell, or the format, or state kind: categorical"
        )


def _kind_of_strings(name: str, column: Array, counts: tuple[int, int] | None) -> str:
    values = [value for value in column.tolist() if value is not None]
    if not values:
        return "categorical"
    written = date_format(values[:1]) is not None and date_format(values)
    if written:
        return "date"
    if written != "":
        check_nearly_dates(name, column)
    if written == "":
        raise SchemaError(
            f"column {name!r} holds dates whose day and month cannot be told apart, such as {values[0]!r}; expected "
            f"to know which comes first; state {{name: {name}, kind: date, format: day_first}} or month_first in "
            "data.inputs"
        )
    if sum(len(text.split()) for text in values) / len(values) > TEXT_WORDS:
        return "text"
    if hardly_repeats(*(counts or (len(set(values)), len(values)))):
        if _are_sentences(values):
            return "text"
        refuse_hardly_repeating(name, values)
    return "categorical"


def _are_sentences(values: Sequence[str]) -> bool:
    """Whether texts are long ones of a script without spaces between words."""
    some = values[:: max(1, len(values) // 1000)]
    long = sum(len(words_of(text)) for text in some) / len(some) > SENTENCE_LETTERS
    return long and sum(map(has_no_spaces, some)) > len(some) / 2


def _kind_of_whole_numbers(name: str, column: Array) -> str:
    sizes = " x ".join(map(str, column.shape[1:]))
    if looks_like_ids(column):
        tell(
            f"column {name!r}, {sizes} whole numbers a row from {column.min()} to {column.max()}, was taken for ids, "
            f"which the model gets as they are; if they are quantities, state {{name: {name}, kind: numeric}}"
        )
        return "id"
    tell(
        f"column {name!r}, {sizes} whole numbers a row from {column.min()} to {column.max()}, was taken for "
        f"quantities and scaled; if they are ids for an Embedding, state {{name: {name}, kind: id}}; scale: none gives "
        "them as they are"
    )
    return "numeric"


def looks_like_ids(column: Array) -> bool:
    """Whether rows of whole numbers `(n, k)` look like ids of words: any number may stand anywhere.

    They are not negative, zeros only fill a row up at one end, numbers at all places are about as large, and neighbours
    are not alike, as they are in a series.
    """
    some = column[:: max(1, len(column) // 2000)].astype(np.float64)
    if some.ndim != 2 or some.shape[1] < 4 or not some.size or some.min() < 0:
        return False
    if len(np.unique(some)) < LEAST_IDS:
        return False
    there = some > 0
    steps = np.diff(there.astype(np.int8), axis=1)
    padded = (steps <= 0).all(axis=1) | (steps >= 0).all(axis=1)
    if not padded.all():
        return False
    counts = there.sum(axis=0)
    often = counts >= max(10, len(some) // 10)
    means = some.sum(axis=0)[often] / counts[often]
    if not means.size or means.max() > 2 * np.median(means) or means.min() < np.median(means) / 2:
        return False
    both = there[:, 1:] & there[:, :-1]
    left, right = some[:, :-1][both], some[:, 1:][both]
    if left.size < 50 or left.std() == 0 or right.std() == 0:
        return False
    return abs(float(np.corrcoef(left, right)[0, 1])) < 0.3
