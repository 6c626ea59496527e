"""A search space beside the experiment that it changes: what its choices would replace, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.models.tuning.space import SearchSpace
from tidegate.pipelines.experiment.dotted import opened, value_at

DECIDE = {"name", "family"}  # keys that say which others there may be beside them


def losses(space: SearchSpace, stated: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about choices through which something that is stated would be lost.

    Args:
        space: by dotted key.
        stated: what the experiment file says, without defaults.
    """
    for key, choice in ((key, choice) for key, entry in space.items() for choice in entry.checked):
        beside = opened(value_at(stated, key), key)
        gone = sorted(set(beside or ()) - set(choice)) if isinstance(choice, Mapping) else []
        if gone:
            yield (
                f"search.space.{key}: the choice {choice} has no {', '.join(gone)}, which {key} states; expected all "
                f"that stands there; add it to each choice, or take it out of {key}"
            )
        for inner in _within(space, key):
            if space.exists_with(inner, key, choice) and not _holds(choice, key, inner):
                yield (
                    f"search.space.{inner}: {inner} is searched within the choice {choice} of {key}, and one would "
                    f"replace the other; expected different keys; search one of the two, or take "
                    f"{inner.removeprefix(key + '.')} out of the choices"
                )


def combinations(space: SearchSpace, key: str) -> Iterator[dict[str, Any]]:
    """The values of a key to check: each with every choice of the searched keys that it lies within, and with every
    value of those on which it depends."""
    needed, required = _needed(space, key), space.required(key)
    found: list[dict[str, Any]] = [{}]
    for one in (name for name in space.order if name in needed):
        values = required.get(one, space[one].checked)
        there = [beside for beside in found if space.exists(one, beside)]
        absent = [beside for beside in found if not space.exists(one, beside)]
        found = absent + [{**beside, one: value} for beside in there for value in values]
    yield from (values for values in found if key in values)


def _needed(space: SearchSpace, key: str) -> set[str]:
    """A key, those that it lies within or depends on, the one that says whose option it is, and theirs."""
    beside = {one for one in space if key in _within(space, one)} | {*space.when[key]}
    part, _, option = key.rpartition(".")
    beside |= {one for one in (f"{part}.{decides}" for decides in DECIDE - {option}) if one in space}
    return {key}.union(*(_needed(space, one) for one in beside))


def _within(space: SearchSpace, key: str) -> list[str]:
    return [inner for inner in space if inner.startswith(f"{key}.")]


def _holds(choice: Any, key: str, inner: str) -> bool:
    """Whether a choice leaves room for a key within it."""
    inside = opened(choice, key)
    return bool(inside) and value_at(inside or {}, inner.removeprefix(f"{key}.")) is None
