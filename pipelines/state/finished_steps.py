"""What finished steps left in the store: their outputs, and the files these name."""

import json
from collections.abc import Iterator
from typing import Any

from tidegate.infra.store import Ref, Store
from tidegate.pipelines.state.home import Home, RunRecord

RELEASING = ("deploy", "verify", "promote")  # one unit: repeated unless all of it is done


def find_outputs(store: Store, key: str) -> dict[str, Any] | None:
    """The outputs kept under a step's key, or None when it is not finished or a file of it is gone."""
    outputs = new_outputs(store, key)
    if outputs is not None and all(store.has(ref) for ref in refs_in(outputs)):
        return outputs
    return None


def new_outputs(store: Store, key: str) -> dict[str, Any] | None:
    """The outputs of a step that has just ended, or None when it left none; it wrote their files before."""
    found = store.read(f"steps/{key}.json")
    outputs: dict[str, Any] | None = json.loads(found[0])["outputs"] if found else None
    return outputs


def refs_in(value: Any) -> Iterator[Ref]:
    """Every reference to a file within a step's outputs."""
    if isinstance(value, dict) and value.keys() == Ref.model_fields.keys():
        yield Ref.model_validate(value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from refs_in(inner)


def outputs_of(home: Home, record: RunRecord, step: str) -> list[dict[str, Any]]:
    """Outputs of the run's finished steps of one kind."""
    keys = [known.key for known in record.steps if known.step == step and known.status in ("done", "cached")]
    return [found for key in keys if (found := find_outputs(home.store, key)) is not None]
