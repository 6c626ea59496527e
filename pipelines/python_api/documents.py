"""An experiment given as a dict: its values as the experiment file has them, functions as references."""

import inspect
from collections.abc import Mapping
from datetime import date
from os import PathLike, fspath
from typing import Any

from tidegate.pipelines.errors import ExperimentError

PLAIN = (str, bool, int, float, type(None), date)


def plain_document(value: Any, key: str = "") -> Any:
    """The same document of plain values.

    Paths become texts, NumPy's numbers Python's, and a function or class of an importable module its reference
    `module:name`.

    Args:
        value: the experiment, or a part of it.
        key: its dotted key.

    Raises:
        ExperimentError: a value is nothing that an experiment file can hold.
    """
    if isinstance(value, Mapping):
        return {
            str(name): plain_document(inner, f"{key}.{name}".lstrip(".")) for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_document(inner, f"{key}.{place}") for place, inner in enumerate(value)]
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, PathLike):
        return fspath(value)
    if inspect.isroutine(value) or inspect.isclass(value):
        return _reference(value, key)
    if hasattr(value, "tolist"):  # an array, or one of NumPy's numbers
        return plain_document(value.tolist(), key)
    raise ExperimentError(
        f"{key}: received a {type(value).__name__}; expected what an experiment file holds: texts, numbers, lists and "
        "mappings; give its name, or a reference module:name"
    )


def _reference(value: Any, key: str) -> str:
    """`module:name` of a function or class that another process can import."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if not module or "<" in name or "." in name:  # a lambda, or a function within a function
        raise ExperimentError(
            f"{key}: received {name or repr(value)} of {module or 'no module'}; expected a function or class at the "
            'top of a module, which other processes can import; write it there and give "module:name"'
        )
    if module == "__main__":
        raise ExperimentError(
            f"{key}: received {name}, which is defined in a notebook or a script; expected one of a module, because "
            "the steps of a run are processes that import it; write it into a file, such as by %%writefile "
            f'my_code.py, and give "my_code:{name}"'
        )
    return f"{module}:{name}"
