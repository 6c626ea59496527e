"""References to the user's functions and classes: `churn.features:transform`."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from typing import Any

from tidegate.models.errors import UserCodeError, nearest_name, one_line
from tidegate.models.user_code.importing import importing
from tidegate.models.user_code.project import line_in_project

NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
REFERENCE = re.compile(rf"{NAME}:{NAME}")


def is_reference(text: object) -> bool:
    """Whether a text has the form `package.module:name`."""
    return isinstance(text, str) and REFERENCE.fullmatch(text) is not None


def load_reference(text: str, option: str) -> Any:
    """Import the module of a reference and return what it names.

    Args:
        text: such as `churn.features:transform`; the module is found on the import path, see `project.use_project`.
        option: the experiment's key that holds it, for messages.

    Raises:
        UserCodeError: there is no such module or name, or importing the module raised.
    """
    module_name, _, name = text.partition(":")
    what = f"{option}: importing {module_name}"
    with user_code(what), importing(what):
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # one of its imports is missing
            raise UserCodeError(
                f"{option}: there is no module {error.name} for {text!r}; expected one in the project's folder or "
                "among its requirements; correct the name, or code.path"
            ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            close = nearest_name(part, [known for known in dir(found) if not known.startswith("_")])
            hint = f"; did you mean {close}?" if close else ""
            raise UserCodeError(
                f"{option}: {module_name} has no {name!r}{hint}; expected what {text!r} names"
            )
        found = getattr(found, part)
    return found


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turn what the user's code raises inside into an error that names its file and line.

    Args:
        what: what was done, such as "data.load: calling churn.data:load".

    Raises:
        UserCodeError: names the innermost line in the project; errors of ours pass unchanged.
    """
    try:
        yield
    except UserCodeError:
        raise
    except SyntaxError as error:
        raise UserCodeError(f"{error.filename}:{error.lineno}: {what}: syntax error: {error.msg}") from error
    except (Exception, SystemExit) as error:
        place = line_in_project(error.__traceback__)
        cause = one_line(error)[:500] or "no message"
        raise UserCodeError(
            f"{place + ': ' if place else ''}{what} raised {type(error).__name__}: {cause}"
        ) from error
