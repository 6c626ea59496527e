"""Other ways to write a known category: JSON's true for CSV's True or yes, 1.0 for 1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MOST_NAMED = 5  # of values that are spelled alike
PAIRS = (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))
WHOLE = re.compile(r"-?\d+")
POINT_ZERO = re.compile(r"(-?\d+)\.0")


@lru_cache(256)
def spellings(categories: tuple[str, ...]) -> dict[str, str]:
    """By another way to write it, the category that is meant; a category is never another one's other way.

    Args:
        categories: all that are known.
    """
    known, found = set(categories), dict[str, str]()
    lowered = {category.lower(): category for category in categories}
    pair = next((pair for pair in PAIRS if len(lowered) == len(known) and set(lowered) <= set(pair)), None)
    for word, category in lowered.items() if pair else ():
        own = "true" if pair and word == pair[0] else "false"
        for other in {
            form for text in (word, own) for form in (text, text.capitalize(), text.upper())
        } - known:
            found[other] = category
    for category in categories:
        whole = POINT_ZERO.fullmatch(category)
        other = whole[1] if whole else f"{category}.0" if WHOLE.fullmatch(category) else category
        if other not in known:
            found[other] = category
    return found


def without_zeros(value: str | None, categories: frozenset[str]) -> str | None:
    """A whole number of a file as the known category, if only leading zeros divide them: 00501 for 501.

    Args:
        value: of a column of texts.
        categories: all that are known. If one of them has leading zeros, zeros mean something.
    """
    if value is None or value in categories or not re.fullmatch(r"0+\d+", value):
        return value
    plain = value.lstrip("0") or "0"
    coded = any(len(category) > 1 and category.startswith("0") for category in categories)
    return plain if plain in categories and not coded else value


def alike(values: Iterable[object]) -> str:
    """The texts that are one for a person, because they differ in case or in spaces, as `'No' and 'no', …`; "" if none.

    Args:
        values: all different; what is no text is not looked at.
    """
    known: dict[str, list[str]] = {}
    for value in values:
        if isinstance(value, str):
            known.setdefault(" ".join(value.split()).casefold(), []).append(repr(value))
    found = [" and ".join(names) for names in known.values() if len(names) > 1]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more
