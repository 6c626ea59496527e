"""Columns that are dates for a person and no dates of one form: one bad cell, two ways of writing, names of months."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tidegate.models.data.columns import Array
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.dates import ORDERS, named_format, orders_of, seconds_of, usual_order
from tidegate.models.errors import SchemaError

FEW = 20  # with no more distinct dates they may be categories
LOOKED_AT = 20  # distinct texts that decide whether there can be dates at all
MOSTLY, PARTLY = 0.9, 0.25  # shares of the cells that are dates


def check_nearly_dates(name: str, column: Array) -> None:
    """Refuse, or tell where they are fewer, dates that would become categories.

    Args:
        name: of a column without a stated kind, whose cells are not all dates of one form.
        column: its strings `(n,)`.

    Raises:
        SchemaError: nearly all cells are dates, more than FEW different ones.
    """
    counts = Counter(value for value in column.tolist() if value is not None)
    some = list(counts)[:LOOKED_AT]
    if pattern := named_format(some):
        _say(
            f"column {name!r} holds texts such as {some[0]!r}, which look like dates; expected dates as 2021-01-31, or "
            f"a stated format; state {{name: {name}, kind: date, format: '{pattern}'}}, or kind: categorical",
            len(counts) > FEW,
        )
    elif any(orders_of(text) for text in some):
        _check_orders(name, column, counts)


def _check_orders(name: str, column: Array, counts: Mapping[str, int]) -> None:
    dates = {text: count for text, count in counts.items() if orders_of(text)}
    share = sum(dates.values()) / sum(counts.values())
    usual = usual_order(dates)
    odd = [text for text in counts if usual not in orders_of(text)]
    if share < PARTLY or not odd:
        return
    row = column.tolist().index(odd[0]) + 1
    good = next(text for text in dates if usual in orders_of(text))
    _say(
        f"column {name!r} holds dates such as {good!r}, and something else in {sum(counts[text] for text in odd)} of "
        f"{sum(counts.values())} cells, first {odd[0]!r} in row {row} of those with a target; expected dates written "
        f"in one way; {_fix(name, counts)}, or state kind: categorical",
        share >= MOSTLY and len(dates) > FEW,
    )


def _fix(name: str, counts: Mapping[str, int]) -> str:
    for order in ORDERS:  # ISO is read beside each
        if all(seconds_of(text, order) is not None for text in counts):
            return f"state {{name: {name}, kind: date, format: {order}}}"
    return f"correct these cells, or leave them empty, and state {{name: {name}, kind: date}}"


def _say(sentence: str, refused: bool) -> None:
    if refused:
        raise SchemaError(sentence)
    tell(f"{sentence}; they were taken for categories")
