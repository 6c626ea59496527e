"""The options of a pydantic model, by dotted key: those of its parts too, where one has several kinds by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Each option that is no part by itself, such as `early_stopping.patience` or `schedule[Step].every`."""
    for name, field in model.model_fields.items():
        key, inner = f"{prefix}{field.alias or name}", list(dict.fromkeys(_parts(field.annotation)))
        if not inner:
            yield key
        for part in inner:
            kind = f"[{part.__name__}]" if len(inner) > 1 else ""
            yield from leaves(part, f"{key}{kind}.")


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)
