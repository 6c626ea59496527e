"""plan: what submit would do, what is done already, and what differs from the live release."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import yaml

from tidegate.infra.errors import InfraError
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError, UnknownNameError, UsageError
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.experiment.dotted import flat
from tidegate.pipelines.experiment.load import Overrides, Source, load_experiment
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.planning.cached_steps import is_cached
from tidegate.pipelines.planning.data_source import source_of
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.identity import streamed_memory
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.project.shadowing import left_out_lines
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import Release, load


def plan(
    home: Home,
    file: Source | None,
    overrides: Overrides = (),
    *,
    manifests: bool = False,
    schema: bool = False,
) -> Result:
    """Plan without running.

    Args:
        home: where finished steps are looked for.
        file: an experiment, see `load_experiment`.
        overrides: `key=value` strings, or values by dotted key.
        manifests: print the Kubernetes objects.
        schema: print the experiment file's JSON Schema instead.

    Raises:
        ExperimentError, ModelsError: the experiment is wrong.
    """
    if schema:
        document = Experiment.model_json_schema()
        return Result(document, json.dumps(document, indent=1))
    if file is None:
        raise UsageError("plan needs FILE_OR_NAME, e.g. `tidegate plan digits`; received none")
    if manifests and home.target is None:
        raise UsageError(
            "--manifests: the local target makes no Kubernetes objects; give a cluster's --target"
        )
    experiment = load_experiment(file, overrides)
    check(experiment, home)
    plan = make_plan(experiment, gather(experiment, home))
    if manifests:
        return _manifests(home, plan)
    steps = [
        {
            "id": step.id,
            "step": step.step,
            "cached": is_cached(plan, step, home.store),
            "gpus": experiment.resources.gpus if step.step == "train" else 0,
            "nodes": experiment.resources.nodes if step.step == "train" else 1,
            **_reached(plan, step.step),
        }
        for step in plan.steps
    ]
    found, not_compared = changes(home, plan)
    data = {
        "run": plan.run,
        "steps": steps,
        "trials": plan.facts.trials,
        "format": source_of(experiment.data, home.endpoint_of).format(),
        "streamed": streamed_memory(experiment, plan.facts) is not None,
        "rollout": hosting(home).describe(experiment.serving),
        "changes": found,
        "not_compared": not_compared,
        "changed_files": plan.facts.changed,
        "left_out": plan.facts.project.left_out if plan.facts.project else {},
    }
    return Result(data, _text(data))


def _reached(plan: Plan, step: str) -> dict[str, Any]:
    """The files of the project and the packages that a step's result depends on; nothing where it reaches none."""
    project = plan.facts.project
    if project is None or step not in project.reach:
        return {}
    found = project.of(step)
    return {"files": sorted(found.files), "packages": found.packages}


def _manifests(home: Home, plan: Plan) -> Result:
    """The Kubernetes objects, as YAML documents that `kubectl apply -f -` takes."""
    from tidegate.pipelines.executors.manifests import jobs_of
    from tidegate.pipelines.hosting.manifests import endpoint_objects_of

    assert home.target is not None
    state = load(home.store, plan.experiment.endpoint)
    objects = [*jobs_of(home.target, plan), *endpoint_objects_of(home.target, plan, state)]
    return Result(objects, yaml.safe_dump_all(objects, sort_keys=False))


def changes(home: Home, plan: Plan) -> tuple[list[dict[str, Any]], str]:
    """Keys in which the experiment differs from the one that the live release came from.

    Returns:
        The keys, and why there are none where that experiment is not here; "" where it is.
    """
    state = load(home.store, plan.experiment.endpoint)
    if state.current is None:
        return [], ""
    release = state.release(state.current)
    try:
        record = home.run_folder(release.run).read()
    except UnknownNameError:
        return [], _not_compared(release)
    live, new = (
        _dotted_keys(home, found) for found in (record.experiment, plan.experiment.model_dump(mode="json"))
    )
    keys = [key for key in sorted(live.keys() | new.keys()) if live.get(key) != new.get(key)]
    return [{"key": key, "live": live.get(key), "new": new.get(key)} for key in keys], ""


def _not_compared(release: Release) -> str:
    """Why nothing is compared with the live release: its run stayed where it was promoted from, or was removed."""
    origin = release.origin
    why = (
        f"its run {release.run} is not here any more"
        if origin is None
        else f"it came from release {origin.release} of {origin.target} ({origin.place}), where its run is"
    )
    return f"not compared with live release {release.number}: {why}"


def _dotted_keys(home: Home, experiment: dict[str, Any]) -> dict[str, Any]:
    """An experiment as dotted keys, with the data's format where it is inferred from the source."""
    keys = flat(experiment)
    # A live release's data may be gone by now.
    with contextlib.suppress(ExperimentError, ModelsError, InfraError):
        found = source_of(Data.model_validate(experiment["data"]), home.endpoint_of).format()
        keys |= {} if found is None else {"data.format": found}
    return keys


def _reached_lines(step: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {version}" for name, version in step["packages"].items())
    yield f"{step['id']} reaches {', '.join(step['files'])}" + (f"; packages {packages}" if packages else "")


def _devices(gpus: int, nodes: int) -> str:
    return f"{gpus} on each of {nodes} nodes" if nodes > 1 else str(gpus or "")


def _text(data: dict[str, Any]) -> str:
    rows = [
        (step["id"], "cached" if step["cached"] else "to do", _devices(step["gpus"], step["nodes"]))
        for step in data["steps"]
    ]
    lines = [f"run {data['run']}", "", table(("step", "", "gpus"), rows), "", data["rollout"]]
    lines += [f"data is read as {data['format']}"] if data["format"] else []
    lines += ["training rows stay on the disk: data.stream"] if data["streamed"] else []
    lines += [f"{path}, which the project's code reads, was changed" for path in data["changed_files"]]
    lines += left_out_lines(data["left_out"])
    lines += [line for step in data["steps"] if "files" in step for line in _reached_lines(step)]
    if data["changes"]:
        rows = [(change["key"], change["live"], change["new"]) for change in data["changes"]]
        lines += ["", table(("differs from what is live", "live", "new"), rows)]
    lines += ["", data["not_compared"]] if data["not_compared"] else []
    return "\n".join(lines)
