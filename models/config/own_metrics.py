"""Metrics of the user's in `training.metrics`: by reference, or as {name: reference, ...options}.

In a run such a metric has the last part of its reference as its name, as Python writes names of functions:
`my_metrics:lift` and `my_metrics:Lift` are `lift`, so `val_lift` in each epoch and `test_lift` of the test rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.models.config.metrics import KNOWN, PREFIXES, metric_named
from tidegate.models.config.metrics import higher_is_better as known_direction
from tidegate.models.user_code.references import is_reference

Entry = str | dict[str, Any]


@dataclass(frozen=True)
class OwnMetric:
    """A metric of the user's.

    Attributes:
        reference: what computes it.
        name: in a run, without a prefix.
        options: its keyword arguments.
        higher: whether higher values are better; None: not said.
    """

    reference: str
    name: str
    options: Mapping[str, Any]
    higher: bool | None = None


def metric_entry(entry: Entry) -> Entry:
    """An entry of `training.metrics`, a built-in one in its one spelling.

    Raises:
        ValueError: there is no such metric, or one of the user's is not written as expected.
    """
    if isinstance(entry, str) and not is_reference(entry):
        return metric_named(entry)
    own = _own(entry)
    if own.name in (*KNOWN, "loss"):
        raise ValueError(
            f"metric {own.reference!r} would be {own.name!r} in a run, which is a metric already; expected another "
            "name; rename the function or class"
        )
    return entry


def own_metrics(entries: Iterable[Entry] | None) -> dict[str, OwnMetric]:
    """The metrics of the user's among `training.metrics`, by their name in a run."""
    found = (_own(entry) for entry in entries or () if not isinstance(entry, str) or is_reference(entry))
    return {own.name: own for own in found}


def metric_names(entries: Iterable[Entry]) -> list[str]:
    """The name in a run of each entry of `training.metrics`."""
    return [next(iter(own_metrics([entry])), str(entry)) for entry in entries]


def higher_is_better(name: str, entries: Iterable[Entry] | None) -> bool:
    """Whether higher values of a metric are better.

    Args:
        name: with or without a prefix, such as val_lift.
        entries: `training.metrics`, where one of the user's may say it.
    """
    own = own_metric(name, entries)
    return own.higher if own is not None and own.higher is not None else known_direction(name)


def own_metric(name: str, entries: Iterable[Entry] | None) -> OwnMetric | None:
    """The user's metric of this name, with or without a prefix; None if there is none."""
    known = own_metrics(entries)
    prefix = next((one for one in PREFIXES if name.startswith(one)), "")
    return known.get(name.removeprefix(prefix).removesuffix("_mean" if prefix == "folds_" else ""))


def _own(entry: Entry) -> OwnMetric:
    options = {"name": entry} if isinstance(entry, str) else dict(entry)
    reference, higher = options.pop("name", None), options.pop("higher_is_better", None)
    if not is_reference(reference):
        raise ValueError(
            f"metric {reference!r} has options; expected the name of a built-in metric without options, or "
            "{name: my_metrics:Lift, ...} for one of your own"
        )
    if higher is not None and not isinstance(higher, bool):
        raise ValueError(f"higher_is_better of metric {reference!r} is {higher!r}; expected true or false")
    last = str(reference).rpartition(":")[2].rpartition(".")[2]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last).lower()
    return OwnMetric(str(reference), name, options, higher)
