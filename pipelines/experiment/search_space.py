"""A search space beside the experiment that it changes: what its choices would replace, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from tidegate.models.tuning.space import Between, Choices
from tidegate.pipelines.experiment.dotted import opened, value_at

Space = Mapping[str, Choices | Between]


def losses(space: Space, stated: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about choices through which something that is stated would be lost.

    Args:
        space: by dotted key.
        stated: what the experiment file says, without defaults.
    """
    for key, choice in ((key, choice) for key, entry in space.items() for choice in _values(entry)):
        beside = opened(value_at(stated, key), key)
        gone = sorted(set(beside or ()) - set(choice)) if isinstance(choice, Mapping) else []
        if gone:
            yield (
                f"search.space.{key}: the choice {choice} has no {', '.join(gone)}, which {key} states; expected all "
                f"that stands there; add it to each choice, or take it out of {key}"
            )
        for inner in _within(space, key):
            if not _holds(choice, key, inner):
                yield (
                    f"search.space.{inner}: {inner} is searched within the choice {choice} of {key}, and one would "
                    f"replace the other; expected different keys; search one of the two, or take "
                    f"{inner.removeprefix(key + '.')} out of the choices"
                )


def combinations(space: Space, key: str) -> Iterator[dict[str, Any]]:
    """The values of a key to check, each with every choice of the searched keys that it lies within."""
    keys = [*(outer for outer in space if key in _within(space, outer)), key]
    for values in product(*(_values(space[one]) for one in keys)):
        yield dict(zip(keys, values, strict=True))


def _within(space: Space, key: str) -> list[str]:
    return [inner for inner in space if inner.startswith(f"{key}.")]


def _values(entry: Choices | Between) -> tuple[Any, ...]:
    """The choices, or both ends."""
    return entry.choices if isinstance(entry, Choices) else (entry.low, entry.high)


def _holds(choice: Any, key: str, inner: str) -> bool:
    """Whether a choice leaves room for a key within it."""
    inside = opened(choice, key)
    return bool(inside) and value_at(inside or {}, inner.removeprefix(f"{key}.")) is None
