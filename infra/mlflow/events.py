"""Converts events to MLflow's values: flat strings within its limits, points, datasets. Plain values only."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidegate.infra.mlflow.spool import Event

# MLflow's limits, from its server.
MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DIGEST = 36
NOT_IN_KEY = re.compile(r"[^/\w.\- :]")

# Events that show that an ended run has been resumed; tags and files may also come after the end.
REOPENING = {"run", "metrics", "system"}

# Our status of an ended run -> MLflow's.
STATUS = {
    "done": "FINISHED",
    "refused": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "waiting": "SCHEDULED",
}


class Point(NamedTuple):
    """One value of one metric; `t` in ms since the epoch."""

    key: str
    value: float
    t: int
    step: int


@dataclass
class Batch:
    """Consecutive events of one spool, grouped by the MLflow call that logs them."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    datasets: list[Event] = field(default_factory=list)
    artifacts: list[Event] = field(default_factory=list)
    models: list[Event] = field(default_factory=list)
    of_children: dict[str, dict[str, str]] = field(default_factory=dict)
    files_of_children: list[Event] = field(default_factory=list)
    end: Event | None = None
    reopened: bool = False


def gather(events: Iterable[Event]) -> Batch:
    """Group events into a batch; an `end` that is followed by events of a resumed run is ignored."""
    batch = Batch()
    for event in events:
        if event["kind"] in REOPENING:
            batch.end, batch.reopened = None, True
        match event["kind"]:
            case "params":
                batch.params |= {_key(k): _text(v, MAX_PARAM) for k, v in flatten(event["values"])}
            case "tags":
                batch.tags |= tags(event["values"])
            case "child_tags":
                batch.of_children.setdefault(event["child"], {}).update(tags(event["values"]))
            case "metrics" | "system":
                batch.points += points(event)
            case "dataset":
                batch.datasets.append(event)
            case "figures" | "model" if "child" in event:
                batch.files_of_children.append(event)
            case "artifact" | "figures":
                batch.artifacts.append(event)
            case "model":
                batch.models.append(event)
            case "end":
                batch.end, batch.reopened = event, False
                batch.tags |= _reason(event)
    return batch


def points(event: Event) -> list[Point]:
    """Return the points of a metrics or system event; None is left out, NaN and infinity are kept."""
    prefix = "system/" if event["kind"] == "system" else ""
    step = int(event.get("step", 0))
    return [
        Point(_key(prefix + key), float(value), int(event["t"]), step)
        for key, value in event["values"].items()
        if value is not None
    ]


def last_points(events: Iterable[Event]) -> list[Point]:
    """Return the last point of each metric of a spool, which the model's page shows."""
    last: dict[str, Point] = {}
    for event in events:
        if event["kind"] == "metrics":
            last |= {point.key: point for point in points(event)}
    return list(last.values())


def tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return tags with keys and values that MLflow accepts."""
    return {_key(key): _text(value, MAX_TAG) for key, value in values.items()}


def status(end: Event) -> str:
    """Return MLflow's status for how the run ended."""
    word = str(end.get("status", "done"))
    return STATUS.get(word, word)


def _reason(end: Event) -> dict[str, str]:
    reason = end.get("reason")
    return tags({f"tidegate.{end.get('status')}": reason}) if reason else {}


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten nested mappings to dotted names; lists are kept as values."""
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        flat += (
            flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
        )
    return flat


def _key(key: str) -> str:
    return NOT_IN_KEY.sub("_", key)[:MAX_KEY]


def _text(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def dataset(event: Event) -> dict[str, str | None]:
    """Return a dataset event's name, digest, source, source_type, schema and profile as MLflow's strings."""
    source = event.get("source") or {}
    return {
        "name": str(event["name"])[:500],
        "digest": str(event["digest"])[:MAX_DIGEST],
        "source_type": str(event.get("source_type", "local")),
        "source": source if isinstance(source, str) else json.dumps(source),
        "schema": json.dumps({"mlflow_colspec": columns(event.get("schema") or {})}),
        "profile": json.dumps(event.get("profile") or {}),
    }


def columns(schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """Turn a data schema (`inputs`, `target`) into the columns that the MLflow UI lists."""
    listed = [{"name": field["name"], "type": _type(field)} for field in schema.get("inputs", ())]
    target = schema.get("target") or {}
    return listed + [
        {"name": name, "type": str(target.get("task", "target"))} for name in target.get("names", ())
    ]


def _type(field: Mapping[str, Any]) -> str:
    shape = "x".join(str(size) for size in field.get("shape", ()))
    return " ".join(word for word in (str(field.get("kind", "")), str(field["dtype"]), shape) if word)
