"""What a callback has gathered, as plain values and arrays: a killed training goes on with it.

Of a callback of the user's all attributes count that are numbers, texts, arrays, or lists and mappings of these.
Others, such as an open file, begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

PLAIN = (bool, int, float, str, type(None))
OF_KERAS = ("_model", "model", "params", "validation_data")


class _NotPlainError(Exception):
    """A value that cannot be written."""


def gathered(callback: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that a callback of the user's has set; none of one of Keras' own."""
    if not type(callback).__module__.startswith("keras."):
        yield from ((name, value) for name, value in vars(callback).items() if name not in OF_KERAS)


def lost(callbacks: list[Any]) -> list[str]:
    """The attributes that cannot be written, such as "Swa.log"."""
    found = []
    for callback in callbacks:
        for name, value in gathered(callback):
            try:
                _packed(value, {}, "")
            except _NotPlainError:
                found.append(f"{type(callback).__name__}.{name}")
    return found


def pack(callbacks: list[Any], arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The state of each callback for JSON; its arrays are added to `arrays`, by names that begin with "own/"."""
    packed = []
    for place, callback in enumerate(callbacks):
        kept = {}
        for name, value in gathered(callback):
            try:
                kept[name] = _packed(value, arrays, f"own/{place}/{name}")
            except _NotPlainError:
                continue
        packed.append(kept)
    return packed


def unpack(callbacks: list[Any], packed: list[dict[str, Any]], arrays: Mapping[str, np.ndarray]) -> None:
    """Set what `pack` wrote."""
    for callback, kept in zip(callbacks, packed, strict=True):
        for name, value in kept.items():
            setattr(callback, name, _unpacked(value, arrays))


def _packed(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        arrays[name] = np.asarray(value)
        return {"array": name, "number": isinstance(value, np.generic)}
    if isinstance(value, list | tuple):
        inner = [_packed(one, arrays, f"{name}/{place}") for place, one in enumerate(value)]
        return {"list": inner, "tuple": isinstance(value, tuple)}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: _packed(one, arrays, f"{name}/{key}") for key, one in value.items()}}
    raise _NotPlainError


def _unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]][()] if value["number"] else arrays[value["array"]].copy()
    if "list" in value:
        inner = [_unpacked(one, arrays) for one in value["list"]]
        return tuple(inner) if value["tuple"] else inner
    return {key: _unpacked(one, arrays) for key, one in value["mapping"].items()}
