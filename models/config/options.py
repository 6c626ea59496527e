"""Options from the experiment file, checked against a pydantic class; a wrong key gets the nearest known one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tidegate.models.config.mistakes import Mistake, mistakes, truths_as_numbers
from tidegate.models.errors import OptionsError, UnknownOptionError, nearest_name

Checked = TypeVar("Checked", bound=BaseModel)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return "; expected one of: A, B; did you mean X?", the end of every message about an unknown name."""
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f"did you mean {near!r}?" if near else "choose one of them"
    return f"; expected one of: {', '.join(names)}; {hint}" if names else "; expected none; leave it out"


def parse_options(options_class: type[Checked], values: Mapping[str, Any], where: str) -> Checked:
    """Return `values` as an instance of `options_class`.

    Args:
        options_class: a pydantic class.
        values: as they stand in the experiment.
        where: their section, such as "model", for messages.

    Raises:
        OptionsError: a key is unknown or a value is wrong; names all of them.
    """
    try:
        options = options_class.model_validate(dict(values))
    except ValidationError as error:
        found = mistakes(error, values, options_class)
        raise _raised(found, options_class, where) from error
    truths = list(truths_as_numbers(options, values))
    if truths:
        raise _raised(truths, options_class, where)
    return options


def _raised(found: Sequence[Mistake], options_class: type[BaseModel], where: str) -> OptionsError:
    text = ". Also: ".join(_sentence(mistake, options_class, where) for mistake in found)
    if len(found) == 1 and found[0].type == "extra_forbidden":
        return UnknownOptionError(text, found[0].place[-1], where)
    return OptionsError(text)


def _sentence(mistake: Mistake, options_class: type[BaseModel], where: str) -> str:
    place, sentence = mistake.place, mistake.sentence
    key = ".".join([where, *place])
    if mistake.type == "extra_forbidden":
        known = options_class.model_fields if len(place) == 1 else ()
        return f"unknown option {key!r}{did_you_mean(place[-1], known) if known else '; leave it out'}"
    if mistake.type == "missing":
        return f"option {key!r} is missing; expected a value; add it"
    return f"option {key!r} is {mistake.received!r}{'; ' if sentence.startswith('expected ') else ': '}{sentence}"
