"""Options as people write them: checked against a pydantic class, refused with the nearest key named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tidegate.models.errors import OptionsError, nearest_name

Checked = TypeVar("Checked", bound=BaseModel)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return " Did you mean X?" and the known names: the end of every message about a wrong name."""
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"{hint} Known here: {', '.join(names) or 'none'}."


def parse_options(options_class: type[Checked], values: Mapping[str, Any], where: str) -> Checked:
    """Return `values` as an instance of `options_class`; `where` names them in a message, as "model".

    Raises:
        OptionsError: a key is unknown or a value is wrong; all of them are named, one sentence each.
    """
    try:
        return options_class.model_validate(dict(values))
    except ValidationError as error:
        problems = [_sentence(problem, options_class, where) for problem in error.errors()]
        raise OptionsError(" ".join(problems)) from error


def _sentence(problem: Any, options_class: type[BaseModel], where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join([where, *path])
    if problem["type"] == "extra_forbidden":
        known = options_class.model_fields if len(path) == 1 else ()
        return f"Unknown option {key!r}.{did_you_mean(path[-1], known) if known else ''}"
    if problem["type"] == "missing":
        return f"Option {key!r} is required and was not given."
    return f"Option {key!r} is {problem['input']!r}: {problem['msg']}."
