"""make_plan: an experiment and the facts it depends on become steps with content-hashed keys. Pure."""

from dataclasses import dataclass, field
from typing import Any

from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.identity import Facts, content_of, digest_of, run_id, streamed_memory

STEPS = ("prepare", "train", "select", "package", "deploy", "verify", "promote")


@dataclass(frozen=True)
class From:
    """An output of an earlier step, filled in once that step is finished."""

    step: str
    output: str | None = None


@dataclass(frozen=True)
class Step:
    """One step: what it is called, what identifies its result, what it needs.

    Attributes:
        id: unique in the plan, the same for the same plan.
        step: one of STEPS.
        key: content hash; a finished step of this key is not done again.
        inputs: the step's Inputs as plain values, `From` where an earlier step's output goes.
        after: ids that must have ended first.
        optional: its failure does not end the run (one trial of several).
    """

    id: str
    step: str
    key: str
    inputs: dict[str, Any]
    after: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Plan:
    """The steps of one run, in an order in which they may run."""

    run: str
    experiment: Experiment
    facts: Facts
    steps: tuple[Step, ...] = field(default=())

    def of(self, step: str) -> list[Step]:
        """All steps of one kind, in order."""
        return [known for known in self.steps if known.step == step]


def make_plan(experiment: Experiment, facts: Facts) -> Plan:
    """Turn an experiment into its steps.

    Args:
        experiment: validated, its paths absolute.
        facts: what its results depend on beside the file.
    """
    run = run_id(experiment, facts)
    content = content_of(experiment, facts)
    prepare = _prepare(experiment, facts, content)
    trials = _trials(experiment, facts, content, prepare, run)
    select = _select(experiment, facts, trials, prepare, run)
    released = _release(experiment, facts, select, prepare, run)
    return Plan(run, experiment, facts, (prepare, *trials, select, *released))


def _step(step: str, facts: Facts, parts: Any, inputs: dict[str, Any], **more: Any) -> Step:
    key = digest_of(step, facts.code[step], facts.versions[step], parts)
    name = more.pop("name", step)
    return Step(f"{name}-{key[:10]}", step, key, inputs, **more)


def _prepare(experiment: Experiment, facts: Facts, content: dict[str, Any]) -> Step:
    data, loss = experiment.data.model_dump(mode="json"), experiment.training.loss
    if facts.source is not None:
        data["source"] = facts.source
    memory = streamed_memory(experiment, facts)
    inputs = {"data": data, "loss": loss, "digest": facts.data, "memory": memory}
    known = {key: value for key, value in content["data"].items() if key not in ("stream", "shuffle_buffer")}
    return _step("prepare", facts, [known, loss, *([memory] if memory else [])], inputs)


def _trials(
    experiment: Experiment, facts: Facts, content: dict[str, Any], prepare: Step, run: str
) -> list[Step]:
    steps: list[Step] = []
    for index in range(facts.trials):
        seen = steps[: _visible(experiment, index)]
        steps.append(_trial(experiment, facts, content, prepare, run, index, seen))
    return steps


def _visible(experiment: Experiment, index: int) -> int:
    """Trials whose results a trial may use: fixed by the plan, so that timing never changes a result."""
    search = experiment.search
    if search is None or (search.method != "tpe" and search.pruning is None):
        return 0
    return max(0, index - search.parallelism + 1)


def _trial(
    experiment: Experiment,
    facts: Facts,
    content: dict[str, Any],
    prepare: Step,
    run: str,
    index: int,
    seen: list[Step],
) -> Step:
    search = experiment.search
    searched = None
    if search is not None:
        # The number of trials is no part of a trial's identity: more trials later keep the old ones.
        searched = {**search.model_dump(mode="json", exclude={"trials", "parallelism"}), "index": index}
    resources, decoding = experiment.resources, _settings(experiment)
    parts = [prepare.key, content["model"], content["training"], resources.gpus, resources.nodes]
    parts += [searched, [step.key for step in seen], *([decoding] if decoding else [])]
    buffer = experiment.data.shuffle_buffer
    parts += [buffer] if streamed_memory(experiment, facts) and buffer else []
    inputs = {
        "run": run,
        "name": experiment.name,
        "index": index,
        "prepared": From(prepare.id),
        "shuffle_buffer": buffer,
        "model": experiment.model.options,
        "start": facts.start and {**facts.start, "freeze": experiment.model.freeze or []},
        "training": experiment.training.model_dump(mode="json"),
        "gpus": resources.gpus,
        "nodes": resources.nodes,
        "member_timeout": resources.member_timeout,
        "snapshot": facts.snapshot,
        "decoding": decoding,
        "explain": experiment.serving.explain,  # changes no result, so it is no part of the trial's identity
        "search": searched,
        "history": [From(step.id) for step in seen],
        "content": content,
        "versions": facts.versions["train"],
        "tags": facts.tags,
    }
    after = (prepare.id, *(step.id for step in seen))
    several = facts.trials > 1
    return _step("train", facts, parts, inputs, name=f"train-{index}", after=after, optional=several)


def _settings(experiment: Experiment) -> dict[str, Any] | None:
    """How texts or boxes are chosen."""
    settings = experiment.serving.settings
    return None if settings is None else settings.model_dump(mode="json")


def _select(experiment: Experiment, facts: Facts, trials: list[Step], prepare: Step, run: str) -> Step:
    gate = [criterion.model_dump(mode="json") for criterion in experiment.gate]
    parts = [[step.key for step in trials], gate, facts.champion]
    inputs = {
        "run": run,
        "gate": gate,
        "trials": [From(step.id) for step in trials],
        "champion": facts.champion,
        "endpoint": experiment.endpoint,
        "prepared": From(prepare.id),
    }
    after = tuple(step.id for step in trials)
    return _step("select", facts, parts, inputs, after=after)


def _release(experiment: Experiment, facts: Facts, select: Step, prepare: Step, run: str) -> list[Step]:
    endpoint = experiment.endpoint
    decoding, explain = _settings(experiment), experiment.serving.explain
    asked = [*([decoding] if decoding else []), *(["explain"] if explain else [])]
    package = _step(
        "package",
        facts,
        [select.key, run, endpoint, experiment.serving.runtime, *asked],
        {
            "run": run,
            "endpoint": endpoint,
            "runtime": experiment.serving.runtime,
            "decoding": decoding,
            "explain": explain,
            "winner": From(select.id, "winner"),
            "prepared": From(prepare.id),
            "snapshot": facts.snapshot,
            "versions": facts.versions["train"],
        },
        after=(select.id,),
    )
    deploy = _step(
        "deploy",
        facts,
        [package.key, facts.incarnation, experiment.serving.port],
        {
            "run": run,
            "endpoint": endpoint,
            "serving": experiment.serving.model_dump(mode="json"),
            "packaged": From(package.id),
            "trial": From(select.id, "trial"),
        },
        after=(package.id,),
    )
    verify = _step(
        "verify",
        facts,
        [deploy.key],
        {
            "endpoint": endpoint,
            "release": From(deploy.id, "release"),
            "packaged": From(package.id),
            "winner": From(select.id, "winner"),
            "prepared": From(prepare.id),
        },
        after=(deploy.id,),
    )
    promote = _step(
        "promote",
        facts,
        [verify.key],
        {
            "run": run,
            "endpoint": endpoint,
            "release": From(deploy.id, "release"),
            "champion": facts.champion,
        },
        after=(verify.id,),
    )
    return [package, deploy, verify, promote]
