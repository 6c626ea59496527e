"""Mistakes in options: what pydantic found, by the key as it was written, with what was expected in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

WHOLE = "a whole number"
# By pydantic's type of error; where it is not here, pydantic's own sentence stands.
EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), WHOLE),
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than_equal": "a number of at least {ge}",
    "greater_than": "a number above {gt}",
    "less_than_equal": "a number of at most {le}",
    "less_than": "a number below {lt}",
    "literal_error": "{expected}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
# How pydantic names a member of a union in the place of an error: constrained-int, literal['auto'], str, Criterion.
MEMBER = re.compile(r"(int|str|bool|float|dict|list|tuple|none|[A-Z]\w*|.*[-\[].*)$")


class Mistake(NamedTuple):
    """One mistake.

    Attributes:
        place: the keys to it, as they are written.
        type: pydantic's name for it.
        received: the value.
        sentence: "expected …; FIX", or another library's or validator's own sentence.
    """

    place: tuple[str, ...]
    type: str
    received: Any
    sentence: str


def mistakes(
    error: ValidationError, document: Any, options_class: type[BaseModel] | None = None
) -> list[Mistake]:
    """What is wrong, one entry for each place; the members of a union that a value is none of are one.

    Args:
        error: of pydantic.
        document: what it was raised for.
        options_class: what the document was to be, for the keys of a mapping in its place.
    """
    found: dict[tuple[Any, ...], list[tuple[tuple[str, ...], Any]]] = {}
    for number, problem in enumerate(error.errors(include_url=False)):
        place = written_place(problem["loc"], document)
        ours = problem["type"] in EXPECTED
        found.setdefault((place,) if ours else (place, number), []).append((place, problem))
    # Where a mistake lies further in, no other member of a union was meant.
    places = {place for place, *_ in found}
    return [
        _mistake(group, options_class)
        for (place, *number), group in found.items()
        if number or not any(other != place and other[: len(place)] == place for other in places)
    ]


def _mistake(group: Sequence[tuple[tuple[str, ...], Any]], options_class: type[BaseModel] | None) -> Mistake:
    (place, first), *_ = group
    sentence = first["msg"].removeprefix("Value error, ")
    if first["type"] in EXPECTED:
        allowed = dict.fromkeys(
            EXPECTED[problem["type"]].format(**_limits(problem.get("ctx", {}))) for _, problem in group
        )
        part = part_at(options_class, place) if first["type"] == "model_type" else None
        sentence = f"expected {', or '.join(allowed)}{_keys_and_fix(part, place, first['input'])}"
    return Mistake(place, first["type"], first["input"], sentence)


def _limits(context: Mapping[str, Any]) -> dict[str, Any]:
    """What an error says of the limits of a value, 1.0 as 1."""
    return {
        key: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for key, limit in context.items()
    }


def _keys_and_fix(part: type[BaseModel] | None, place: Sequence[str], received: Any) -> str:
    """The keys of a mapping that a value stands in for, and the key that the value may be meant for."""
    if part is None:
        return "; correct it"
    fields = part.model_fields.items()
    meant = next((name for name, known in fields if received in _literals(known.annotation)), None)
    fix = f"write {place[-1]}: {{{meant}: {received}}}" if meant and place else "correct it"
    return f" with keys of: {', '.join(part.model_fields)}; {fix}"


def _literals(annotation: Any) -> Iterator[Any]:
    for inner in get_args(annotation):
        yield from (inner,) if isinstance(inner, str) else _literals(inner)


def written_place(loc: Sequence[int | str], document: Any) -> tuple[str, ...]:
    """The keys to a value as they are written, without the members of unions that pydantic puts among them."""
    place: list[str] = []
    here, known = document, True  # known: `here` is what stands at the place
    for key in (one for one in loc if one != ""):
        if known and _is_in(key, here):
            here = here[key]
        elif known and _is_no_key(key, here):
            continue
        else:
            known = False
        place.append(str(key))
    return tuple(place)


def _is_in(key: int | str, here: Any) -> bool:
    if isinstance(here, Mapping):
        return key in here
    return isinstance(here, list | tuple) and isinstance(key, int) and key < len(here)


def _is_no_key(key: int | str, here: Any) -> bool:
    """Whether it is a union's member, or the place in a list of one that is written without the list."""
    if isinstance(key, int):
        return not isinstance(here, list | tuple)
    chosen = isinstance(here, Mapping) and key == here.get("name")  # of a union that `name` decides
    return chosen or MEMBER.match(key) is not None


def part_at(options_class: type[BaseModel] | None, place: Sequence[str]) -> type[BaseModel] | None:
    """The class of options at a place within another, found by walking the fields' types; None where there is none."""
    part = options_class
    for key in place:
        if part is not None and key in part.model_fields:
            part = _part_in(part.model_fields[key].annotation)
    return part


def _part_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _part_in(inner))), None)


def truths_as_numbers(read: Any, written: Any, place: tuple[str, ...] = ()) -> Iterator[Mistake]:
    """Where `true` or `false` is written and a number was read of it, which pydantic does.

    Args:
        read: what was read, such as an instance of an options class.
        written: what it was read of.
        place: the keys to it.
    """
    if isinstance(written, bool):
        if isinstance(read, int | float) and not isinstance(read, bool):
            number = WHOLE if isinstance(read, int) else "a number"
            yield Mistake(place, "bool", written, f"expected {number}; correct it")
    elif isinstance(written, Mapping):
        if isinstance(read, list | tuple) and len(read) == 1:
            yield from truths_as_numbers(read[0], written, place)
        for key, inner in _items(read):
            if key in written:
                yield from truths_as_numbers(inner, written[key], (*place, str(key)))
    elif isinstance(written, list | tuple) and isinstance(read, list | tuple) and len(read) == len(written):
        for index, (inner, one) in enumerate(zip(read, written, strict=True)):
            yield from truths_as_numbers(inner, one, (*place, str(index)))


def _items(read: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(read, BaseModel):
        for name, known in type(read).model_fields.items():
            yield known.alias or name, getattr(read, name)
    elif isinstance(read, Mapping):
        yield from read.items()
