"""One entry and one line a column, for the log of `prepare`, `show`, MLflow and `tidegate data`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.profile.column_profile import MOST_DISTINCT, MOST_FRACTIONS, ColumnProfile
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.transforms import Transforms

MOST_LINES = 30  # with more columns, neighbours that are alike share a line


def profiles_of(columns: Columns) -> dict[str, ColumnProfile]:
    """The profile of each column of rows in memory."""
    found = {name: ColumnProfile() for name in columns}
    for name, column in columns.items():
        found[name].add(column)
    return found


def column_entries(
    schema: Schema,
    profiles: Mapping[str, ColumnProfile],
    transforms: Transforms,
    stated: Iterable[str] = (),
    warnings: Sequence[str] = (),
    shared: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """An entry for each input and target: plain JSON values.

    Each has `name`, `role` (input, target, or raw), `kind`, `why` (stated, by type, by values), the figures of
    `ColumnProfile.figures`, `model` (what the model gets) and `warnings`.

    Args:
        schema: of the data.
        profiles: of its columns.
        transforms: fitted.
        stated: the inputs whose kind was stated.
        warnings: sentences; those that begin with `column 'NAME'` belong to a column.
        shared: by column, sentences that were told of several columns together.
    """
    gets, together = transforms.described(), shared or {}
    named = set(stated)
    entries = []
    for field in schema.inputs:
        why = "stated" if field.name in named else _why(field.kind, profiles[field.name])
        entry = {"name": field.name, "role": "input", "kind": field.kind, "why": why}
        entry |= profiles[field.name].figures()
        model = gets.get(field.name, "the beginning of the text")
        entries.append(
            entry
            | {"model": model, "warnings": [*_about(field.name, warnings), *together.get(field.name, ())]}
        )
    target = schema.target
    for output in target.outputs or (target,):
        gives = f"{len(output.classes)} {_kind_of_classes(output)}" if output.classes else "as it is"
        for name in output.names:
            entry = {"name": name, "role": "target", "kind": output.task, "why": ""}
            entry |= profiles[name].figures() | {"model": gives}
            entries.append(entry | {"warnings": _about(name, warnings)})
    return entries


def raw_entries(schema: Schema, profiles: Mapping[str, ColumnProfile], given: str) -> list[dict[str, Any]]:
    """An entry for each raw column that a transform of the user's own is given: those of `column_entries`.

    Args:
        schema: the contract.
        profiles: of its columns.
        given: the transform, in words.
    """
    head = {"role": "raw", "why": ""}
    tail = {"model": f"is given to {given}", "warnings": list[str]()}
    return [
        {"name": field.name, "kind": field.kind, **head, **profiles[field.name].figures(), **tail}
        for field in schema.inputs
    ]


def _kind_of_classes(target: Target) -> str:
    at = f" at each of {' x '.join(map(str, target.shape))} places" if target.shape else ""
    return ("labels" if target.task == "multilabel" else "classes") + at


def _about(name: str, warnings: Sequence[str]) -> list[str]:
    return [sentence for sentence in warnings if sentence.startswith(f"column {name!r} ")]


def column_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line an entry; where there are many, one line for neighbours that are alike."""
    if len(entries) <= MOST_LINES:
        return [_line([entry]) for entry in entries]
    groups: list[list[Mapping[str, Any]]] = []
    for entry in entries:
        if groups and _alike(groups[-1][-1]) == _alike(entry):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [_line(group) for group in groups]


def _alike(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return (entry["role"], entry["kind"], entry["why"], entry["model"], bool(entry["warnings"]))


def _why(kind: str, profile: ColumnProfile) -> str:
    """Strings, sequences and arrays of whole numbers are told apart by their values, all others by their type."""
    whole = profile.shape and not profile.dtype.startswith(("float", "uint8"))
    return "by values" if profile.dtype == "object" or whole or kind == "sequence" else "by type"


def _line(group: Sequence[Mapping[str, Any]]) -> str:
    first = group[0]
    name = (
        first["name"] if len(group) == 1 else f"{first['name']} … {group[-1]['name']} ({len(group)} columns)"
    )
    role = {"target": "target, ", "raw": "raw, "}.get(first["role"], "")
    kind = f"{role}{first['kind']}"
    parts = [f"{kind} ({first['why']})" if first["why"] else kind]
    parts += _counted([entry["distinct"] for entry in group], "distinct")
    parts += _counted([entry["missing"] for entry in group], "missing")
    ranges = [entry["range"] for entry in group if entry["range"]]
    if ranges:
        parts.append(f"{min(one[0] for one in ranges):.6g} to {max(one[1] for one in ranges):.6g}")
    elif len(group) == 1 and first["examples"]:
        parts.append("such as " + ", ".join(repr(value) for value in first["examples"]))
    if first["kind"] == "refused":
        return f"{name}: {', '.join(parts)}"
    arrow = {"target": "learned ", "raw": ""}.get(first["role"], "the model gets it ")
    return f"{name}: {', '.join(parts)}; {arrow}{first['model']}"


def _counted(numbers: Sequence[int | None], word: str) -> list[str]:
    known = [number for number in numbers if number is not None]
    if not known:
        return []
    low, high = (_number(end) for end in (min(known), max(known)))
    return [f"{low} {word}" if low == high else f"{low} to {high} {word}"]


def _number(count: int) -> str:
    return f"more than {count - 1}" if count - 1 in (MOST_DISTINCT, MOST_FRACTIONS) else str(count)
