"""Dotted keys of a nested document, such as `training.optimizer.learning_rate`: set and listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Where a word is short for a mapping with this name: `optimizer: sgd` is `optimizer: {name: sgd}`.
SHORT_FORMS = ("training.optimizer", "training.loss", "training.learning_rate_schedule")


def with_values(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a nested document with dotted keys set, and with all that stands beside them.

    A word that is short for a mapping becomes its `name`: `optimizer: sgd` with a learning rate is SGD with this rate,
    and `optimizer: {name: adam, learning_rate: 0.1}` with the word sgd is SGD with that rate. Outer keys are set before
    the keys within them, in whatever order they are given.

    Args:
        document: nested; it is not changed.
        values: by dotted key.

    Raises:
        ValueError: a key lies within something that is no mapping.
    """
    result = dict(document)
    for dotted in sorted(values, key=lambda key: key.count(".")):
        result = _with_value(result, dotted.split("."), _beside(values[dotted]), "")
    return result


def with_value(document: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of a nested document with one dotted key replaced; see `with_values`."""
    return _with_value(document, key.split("."), lambda _, __: value, "")


def value_at(document: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key; None where nothing does."""
    found: Any = document
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def opened(value: Any, key: str) -> Mapping[str, Any] | None:
    """What stands at a key as a mapping that can hold more keys; None if it cannot."""
    if isinstance(value, str) and key in SHORT_FORMS:
        return {"name": value}
    return {} if value is None else value if isinstance(value, Mapping) else None


def _with_value(
    place: Mapping[str, Any], keys: list[str], change: Callable[[Any, str], Any], above: str
) -> dict[str, Any]:
    head, *rest = keys
    here, below = f"{above}{head}", place.get(head)
    if not rest:
        return {**place, head: change(below, here)}
    inside = opened(below, here)
    if inside is None:
        shown = f"{type(below).__name__} {below!r}"[:80]
        raise ValueError(
            f'"{here}" is {shown}, not a mapping that could hold "{".".join(rest)}"; write it as a mapping'
        )
    return {**place, head: _with_value(inside, rest, change, f"{here}.")}


def _beside(value: Any) -> Callable[[Any, str], Any]:
    """Sets a value; a word that is a mapping's name leaves the rest of the mapping."""

    def change(old: Any, key: str) -> Any:
        names = isinstance(value, str) and isinstance(old, Mapping) and key in SHORT_FORMS
        return {**old, "name": value} if names else value

    return change


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as dotted keys; empty values are left out."""
    result: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        elif value is not None and value != [] and value != {} and value != "":
            result[f"{prefix}{key}"] = value
    return result
