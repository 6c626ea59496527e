"""What looks wrong with a column, though it can be learned from: each is told with `data_warnings.tell`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tidegate.models.data.cells.facts import CODE, EXACT, FEW
from tidegate.models.data.cells.spellings import alike
from tidegate.models.data.columns import Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.preprocessing.profile.column_profile import ColumnProfile
from tidegate.models.preprocessing.profile.leaks import Leaks
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.text_kinds import FEW_ROWS, PLAIN, is_quantity, mostly

MOST_NAMED = 5  # columns that one sentence names
LEAST_ROWS_PER_CATEGORY = 3
MANY_CATEGORIES = 100
MANY_IDS = 1000
LARGEST_ID = 1e30  # a larger number is a quantity
MOSTLY_ONE_ROW = 0.9
ID_NAMES = (
    "id",
    "uuid",
    "key",
    "index",
    "user",
    "item",
    "customer",
    "product",
    "movie",
    "zip",
    "plz",
    "postcode",
)


def tell_about_columns(
    schema: Schema, profiles: Mapping[str, ColumnProfile], some: Columns, stated: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Tell what looks wrong, and return by column what was told of several together.

    Args:
        schema: of the data.
        profiles: of all its columns.
        some: rows of it.
        stated: the inputs whose kind was stated.
    """
    told: dict[str, list[str]] = {}
    for field in schema.inputs:
        for reason in _reasons(field, profiles[field.name], field.name in stated):
            told.setdefault(reason, []).append(field.name)
    for reason, names in told.items():
        if len(names) <= 1:
            tell(f"column {names[0]!r} {reason}")
            continue
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        tell(f"columns {', '.join(map(repr, names[:MOST_NAMED]))}{more}: each {reason}")
    if len(schema.inputs) > 1:
        _tell_leaks(schema, some)
    several = {reason: names for reason, names in told.items() if len(names) > 1}
    return {
        field.name: [
            f"column {field.name!r} {reason}" for reason, names in several.items() if field.name in names
        ]
        for field in schema.inputs
    }


def _tell_leaks(schema: Schema, some: Columns) -> None:
    leaks = Leaks(some, schema.target)
    for field in schema.inputs:
        found = leaks.found(field)
        if found:
            tell(
                f"column {field.name!r} {found}; if it is not known yet when a prediction is made, it gives the answer "
                "away: leave it out of data.inputs"
            )


def _reasons(field: Field, profile: ColumnProfile, stated: bool) -> Iterator[str]:
    name = field.name
    if profile.infinite:
        numbers = "an infinite number" if profile.infinite == 1 else f"{profile.infinite} infinite numbers"
        yield f"holds {numbers}, taken for missing; write what is meant, or leave the cell empty"
    if profile.present == 0:
        yield "has no value in any row, so nothing is learned from it; leave it out of data.inputs"
        return
    if field.shape:
        return
    spelled = alike(sorted(profile.texts)) if field.kind == "categorical" else ""
    if spelled:
        yield f"holds {spelled}, which differ only in case or spaces: different categories; write each in one way"
    if profile.distinct == 1:
        yield "has one value in all rows, so nothing is learned from it; leave it out of data.inputs"
    elif (
        field.kind == "numeric"
        and profile.whole
        and LARGEST_ID >= (most := max(-profile.least, profile.most)) > EXACT
    ):
        yield (
            f"holds whole numbers up to {most:.0f}, whose last digits are lost as numbers; if they are ids, "
            "state kind: id or categorical"
        )
    elif not stated and field.kind == "numeric" and profile.present >= FEW_ROWS:
        yield from _as_number(name, profile)
    elif field.kind == "id" and (profile.distinct or 0) > MOSTLY_ONE_ROW * profile.present >= FEW_ROWS:
        yield "has an id of its own in nearly every row, so nothing is learned from it; leave it out of data.inputs"
    elif not stated and field.kind == "categorical":
        yield from _as_category(profile)


def _as_number(name: str, profile: ColumnProfile) -> Iterator[str]:
    if not profile.whole or profile.least < 0:
        return
    if profile.distinct == profile.present == profile.most - profile.least + 1:
        yield "counts the rows; if it is an index or an id, leave it out of data.inputs"
    elif (profile.distinct or 0) >= min(MANY_IDS, profile.present // 2) and _named_as_id(name):
        yield (
            "is named as an id and was taken for a quantity and scaled; leave it out of data.inputs, or state "
            "kind: id, so that a model embeds it"
        )


def _named_as_id(name: str) -> bool:
    lowered = name.lower()
    return lowered in ID_NAMES or lowered.endswith(("_id", " id", "-id", "_key")) or name.endswith("Id")


def _as_category(profile: ColumnProfile) -> Iterator[str]:
    distinct, values = profile.distinct or 0, list(profile.texts)
    if distinct > 2 and mostly(values, is_quantity):
        yield (
            f"holds texts such as {profile.examples[0]!r}, numbers with a unit or separated thousands, and was taken "
            "for categories; remove what is not part of the number to have a number"
        )
    elif distinct > FEW and mostly(values, PLAIN.fullmatch) and not any(map(CODE.fullmatch, values)):
        yield (
            f"holds texts that are numbers, such as {profile.examples[0]!r}, and was taken for categories; if they "
            "are quantities, state kind: numeric"
        )
    elif distinct >= MANY_CATEGORIES and profile.present < LEAST_ROWS_PER_CATEGORY * distinct:
        yield (
            "has fewer than three rows per category; state kind: id so that a model embeds it, a limit, or leave it "
            "out of data.inputs"
        )
    elif FEW_ROWS > profile.present >= 10 and distinct == profile.present:
        yield "has another value in each row, so nothing is learned from it; leave it out of data.inputs"
