"""A plan as a document, for a driver that has no other way to it: in a pod, or days after the data was read."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.facts import with_buckets, with_champion
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home, RunFolder

PLAN = "plan.json"


@cache
def _facts() -> TypeAdapter[Facts]:
    """Made when it is needed: for a plan that is not kept it would be in vain."""
    return TypeAdapter(Facts)


def plan_document(plan: Plan) -> bytes:
    """A plan as JSON, as it is stored for the driver."""
    document = {"experiment": plan.experiment.model_dump(mode="json"), "facts": facts_document(plan.facts)}
    return json.dumps(document).encode()


def read_plan(content: bytes, home: Home) -> Plan:
    """The plan, made again with the endpoint as it is now."""
    document: dict[str, Any] = json.loads(content)
    experiment = Experiment.model_validate(document["experiment"])
    facts = _facts().validate_python(document["facts"])
    return make_plan(experiment, with_champion(facts, experiment, home))


def facts_document(facts: Facts) -> dict[str, Any]:
    """Facts as plain values."""
    document: dict[str, Any] = _facts().dump_python(facts, mode="json")
    return document


def plan_of_now(document: dict[str, Any], experiment: Experiment, home: Home) -> Plan:
    """The plan of facts that were gathered on another machine, with its buckets and the endpoint as they are now.

    Args:
        document: from `facts_document`.
        experiment: with the paths of that machine.
        home: of the cluster.

    Raises:
        ExperimentError, StoreError: data in a bucket is gone, or cannot be reached.
    """
    facts = with_buckets(_facts().validate_python(document), experiment, home)
    return make_plan(experiment, with_champion(facts, experiment, home))


def plan_at(folder: RunFolder) -> Path:
    """Where a run's plan is kept, if it is."""
    return folder.path / PLAN
