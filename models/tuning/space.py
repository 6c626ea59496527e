"""The search space: which values can be tried together, checked before the first trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError
from tidegate.models.tuning.entries import Between, Choices, Entry, entry_of, same

Allowed = Mapping[str, tuple[Any, ...]]  # by searched key: the values of it with which another one exists


class SearchSpace(Mapping[str, Entry]):
    """The searched values by dotted name, in their order, and when each of them exists.

    Attributes:
        when: by name, its conditions: all of them must hold. A value that does not exist itself fulfils none.
        order: the names, those before others that depend on them.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Check the conditions.

        Raises:
            OptionsError: a condition names no other searched value, or none that it can have; conditions go round in
                a circle; or a value could never occur.
        """
        self._entries = dict(entries)
        self.when: dict[str, Allowed] = {
            name: {key: self._allowed(name, key, value) for key, value in (entry.when or {}).items()}
            for name, entry in self._entries.items()
        }
        self.order = self._ordered()
        for name in self.order:
            self.required(name)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def exists(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a value exists beside others, which are those before it in the order."""
        return all(
            key in values and any(same(values[key], one) for one in allowed)
            for key, allowed in self.when[name].items()
        )

    def exists_with(self, name: str, key: str, value: Any) -> bool:
        """Whether a value may exist where another one has this value."""
        allowed = self.required(name).get(key)
        return allowed is None or any(same(value, one) for one in allowed)

    def required(self, name: str) -> dict[str, tuple[Any, ...]]:
        """All that must hold where a value exists: its conditions, and those of the values in them.

        Raises:
            OptionsError: they contradict each other.
        """
        found = dict(self.when[name])
        for key in self.when[name]:
            for further, allowed in self.required(key).items():
                both = [one for one in found.get(further, allowed) if any(same(one, two) for two in allowed)]
                if not both:
                    raise OptionsError(
                        f"search.space.{name}.when: {further} is {_listed(found[further])}, and {key} exists only "
                        f"where it is {_listed(allowed)}; expected conditions that can hold together, or this value "
                        "never occurs; change one of them"
                    )
                found[further] = tuple(both)
        return found

    def _allowed(self, name: str, key: str, value: Any) -> tuple[Any, ...]:
        where = f"search.space.{name}.when"
        if key not in self._entries or key == name:
            others = [other for other in self._entries if other != name]
            raise OptionsError(f"{where}: {key!r} is no other searched value{did_you_mean(key, others)}")
        entry = self._entries[key]
        if isinstance(entry, Between) and not entry.listed:
            raise OptionsError(
                f"{where}: {key} is a range from {entry.low} to {entry.high}, which has no single values; expected "
                "a value with choices, integers or a step; give it one, or leave the condition out"
            )
        # A choice may be a list itself.
        values = tuple(value) if isinstance(value, list | tuple) and not entry.has(value) else (value,)
        never = [one for one in values if not entry.has(one)]
        if never or not values:
            raise OptionsError(
                f"{where}: {key} is {_listed(never or values)}, and is never that; expected {_described(entry)}; "
                "correct the condition"
            )
        return values

    def _ordered(self) -> list[str]:
        """The names as they are declared, and each after those that it depends on."""
        found: list[str] = []

        def add(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                circle = " -> ".join([*above[above.index(name) :], name])
                raise OptionsError(
                    f"search.space.{name}.when: the conditions go round in a circle: {circle}; expected a value that "
                    "exists whatever the others are; leave one of the conditions out"
                )
            if name not in found:
                for key in self.when[name]:
                    add(key, (*above, name))
                found.append(name)

        for name in self._entries:
            add(name, ())
        return found


def _listed(values: tuple[Any, ...] | list[Any]) -> str:
    return " or ".join(map(repr, values)) or "an empty list"


def _described(entry: Entry) -> str:
    if isinstance(entry, Choices):
        return f"one of its choices, {', '.join(map(repr, entry.choices))}, or a list of them"
    step = f" in steps of {entry.step}" if entry.step is not None else ""
    return f"a value from {entry.low} to {entry.high}{step}, or a list of them"


def space_of(space: Mapping[str, Any]) -> SearchSpace:
    """Return the searched values by dotted name, checked.

    Args:
        space: for each name {low, high, log, step, num}, {choices: [...]}, or a plain list of choices; the first two
            may have `when`.

    Raises:
        OptionsError: the space is empty, an entry has another form, or a condition is wrong.
    """
    if not space:
        raise OptionsError(
            "search.space is empty; expected at least one `name: {low: ..., high: ...}`; add one"
        )
    return SearchSpace({name: entry_of(name, entry) for name, entry in space.items()})


def require_used(space: SearchSpace, method: str) -> None:
    """Refuse what another method would use.

    Raises:
        OptionsError: names the first one.
    """
    for name, entry in space.items():
        if method != "grid" and isinstance(entry, Between) and entry.num is not None:
            raise OptionsError(
                f"search.space.{name} has num: {entry.num}, the points of a grid, and search.method is {method}; "
                "expected a range, or one with a step; leave num out"
            )
