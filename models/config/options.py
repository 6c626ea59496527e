"""Options from the experiment file, checked against a pydantic class; a wrong key gets the nearest known one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tidegate.models.errors import OptionsError, nearest_name

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
        return options_class.model_validate(dict(values))
    except ValidationError as error:
        problems = [_sentence(problem, options_class, where) for problem in error.errors()]
        raise OptionsError(". Also: ".join(problems)) from error


def _sentence(problem: Any, options_class: type[BaseModel], where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join([where, *path])
    if problem["type"] == "extra_forbidden":
        known = options_class.model_fields if len(path) == 1 else ()
        return f"unknown option {key!r}{did_you_mean(path[-1], known) if known else '; leave it out'}"
    if problem["type"] == "missing":
        return f"option {key!r} is missing; expected a value; add it"
    return f"option {key!r} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
