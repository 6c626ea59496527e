"""make_plan: turn an experiment and the facts that it depends on into steps with content-hashed keys. Pure."""

from dataclasses import dataclass, field
from typing import Any

from tidegate.models.config.own_metrics import higher_is_better, own_metrics
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.spec import Experiment, Search
from tidegate.pipelines.planning.identity import (
    Facts,
    content_of,
    digest_of,
    memory_if_larger,
    reached,
    run_id,
    streamed_memory,
)
from tidegate.pipelines.planning.project.project import SERVED
from tidegate.pipelines.step_types.base import StepPart, place_of, places_in
from tidegate.pipelines.step_types.code import CodeInputs
from tidegate.pipelines.step_types.package import Packaged, PackageInputs
from tidegate.pipelines.step_types.prepare import Prepared, PrepareInputs
from tidegate.pipelines.step_types.release import Deployed, DeployInputs, PromoteInputs, VerifyInputs
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.step_types.train import Draw, Trained, TrainInputs, WarmStartInputs

INPUTS: dict[str, type[StepPart]] = {
    "prepare": PrepareInputs,
    "train": TrainInputs,
    "select": SelectInputs,
    "package": PackageInputs,
    "deploy": DeployInputs,
    "verify": VerifyInputs,
    "promote": PromoteInputs,
}
STEPS = tuple(INPUTS)


@dataclass(frozen=True)
class Step:
    """One step: its name, the key of its result, and what it needs.

    Attributes:
        id: unique in the plan, the same for the same plan.
        step: one of STEPS.
        key: content hash; a finished step with this key is not run again.
        inputs: of that step's type in INPUTS, with a `From` for each output of an earlier step.
        after: ids of steps that must end first.
        optional: its failure does not end the run (one trial of several).
    """

    id: str
    step: str
    key: str
    inputs: StepPart
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
        facts: what its results depend on in addition to the file.
    """
    run = run_id(experiment, facts)
    content = content_of(experiment, facts)
    prepare = _prepare(experiment, facts, content)
    trials = _trials(experiment, facts, content, prepare, run)
    select = _select(experiment, facts, trials, prepare, run)
    released = _release(experiment, facts, select, prepare, run)
    return Plan(run, experiment, facts, (prepare, *trials, select, *released))


def _step(
    step: str,
    facts: Facts,
    parts: list[Any],
    inputs: StepPart,
    *,
    name: str | None = None,
    after: tuple[str, ...] = (),
    optional: bool = False,
) -> Step:
    key = digest_of(step, facts.code[step], facts.versions[step], parts)
    return Step(f"{name or step}-{key[:10]}", step, key, inputs, after, optional)


def _prepare(experiment: Experiment, facts: Facts, content: dict[str, Any]) -> Step:
    data, loss, memory = experiment.data, experiment.training.loss, streamed_memory(experiment, facts)
    inputs = PrepareInputs(
        data=data,
        loss=loss,
        kept=facts.source,
        digest=facts.data,
        kept_files=facts.kept_files,
        file_digests=facts.files,
        memory=memory,
        memory_if_larger=memory_if_larger(experiment),
        code=_code(experiment, facts),
    )
    known = {key: value for key, value in content["data"].items() if key not in ("stream", "shuffle_buffer")}
    parts = [
        known,
        loss,
        *([size] if (size := memory or memory_if_larger(experiment)) else []),
        *reached(facts, "prepare"),
    ]
    return _step("prepare", facts, parts, inputs)


def _code(experiment: Experiment, facts: Facts) -> CodeInputs | None:
    project = facts.project
    if project is None:
        return None
    return CodeInputs(
        snapshot=project.snapshot,
        folder=project.folder,
        roots=project.roots,
        model=project.model,
        transform=project.transform,
        trained=tuple(project.of("train").files),
        served=tuple(project.of(SERVED).files),
        identity=facts.model,
        env=project.env,
        secrets=tuple(experiment.code.secrets),
        environment=project.lock.digest,
        packages=facts.packages,
        served_packages=facts.served,
        pins=project.lock.versions,
    )


def _trials(
    experiment: Experiment, facts: Facts, content: dict[str, Any], prepare: Step, run: str
) -> list[Step]:
    steps: list[Step] = []
    for index in range(facts.trials):
        seen = steps[: _visible_trials(experiment, index)]
        steps.append(_trial(experiment, facts, content, prepare, run, index, seen))
    return steps


def _visible_trials(experiment: Experiment, index: int) -> int:
    """Number of earlier trials whose results a trial may use; fixed by the plan, so that timing changes no result."""
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
    draw = _draw(experiment.search, index)
    resources, settings = experiment.resources, experiment.serving.settings
    parts = [prepare.key, content["model"], content["training"], resources.gpus, resources.nodes]
    parts += [draw and draw.model_dump(mode="json"), [step.key for step in seen], *_settings_key(settings)]
    buffer = experiment.data.shuffle_buffer
    parts += reached(facts, "train")
    streamed = streamed_memory(experiment, facts) or memory_if_larger(experiment)
    parts += [buffer] if streamed and buffer else []
    inputs = TrainInputs(
        run=run,
        name=experiment.name,
        index=index,
        prepared=place_of(prepare.id, Prepared),
        shuffle_buffer=buffer,
        model=experiment.model.options,
        start=_warm_start(experiment, facts),
        training=experiment.training.model_dump(mode="json"),
        gpus=resources.gpus,
        nodes=resources.nodes,
        member_timeout=resources.member_timeout,
        code=_code(experiment, facts),
        decoding=settings,
        explain=experiment.serving.explain,  # changes no result, so it is not part of the key
        search=draw,
        history=[place_of(step.id, Trained) for step in seen],
        content=content,
        versions=facts.versions["train"],
        tags=facts.tags,
    )
    after = (prepare.id, *(step.id for step in seen))
    several = facts.trials > 1
    return _step("train", facts, parts, inputs, name=f"train-{index}", after=after, optional=several)


def _draw(search: Search | None, index: int) -> Draw | None:
    """The number of trials is not part of a trial's key, so adding trials later keeps the old ones."""
    if search is None:
        return None
    return Draw(
        method=search.method, seed=search.seed, pruning=search.pruning, space=search.space, index=index
    )


def _warm_start(experiment: Experiment, facts: Facts) -> WarmStartInputs | None:
    start = facts.start
    if start is None:
        return None
    freeze = experiment.model.freeze or []
    return WarmStartInputs(run=start.run, keras=start.keras, transforms=start.transforms, freeze=freeze)


def _settings_key(settings: DecodingSettings | None) -> list[Any]:
    """The decoding settings as a part of a key; nothing where none are given, as in older keys."""
    return [] if settings is None else [settings.model_dump(mode="json")]


def _select(experiment: Experiment, facts: Facts, trials: list[Step], prepare: Step, run: str) -> Step:
    gate = experiment.model_dump(mode="json", include={"gate"})["gate"]
    parts = [[step.key for step in trials], gate, facts.champion]
    asked = experiment.training.metrics
    inputs = SelectInputs(
        run=run,
        gate=experiment.gate,
        trials=[place_of(step.id, Trained) for step in trials],
        champion=facts.champion,
        endpoint=experiment.endpoint,
        prepared=place_of(prepare.id, Prepared),
        decoding=experiment.serving.settings,
        start=facts.start.run if facts.start else None,
        code=_code(experiment, facts),
        own_lower=tuple(name for name in own_metrics(asked) if not higher_is_better(name, asked)),
    )
    after = tuple(step.id for step in trials)
    return _step("select", facts, parts, inputs, after=after)


def _release(experiment: Experiment, facts: Facts, select: Step, prepare: Step, run: str) -> list[Step]:
    endpoint, serving = experiment.endpoint, experiment.serving
    prepared, selected = place_of(prepare.id, Prepared), places_in(select.id, Selected)
    asked = [*_settings_key(serving.settings), *(["explain"] if serving.explain else [])]
    package = _step(
        "package",
        facts,
        [select.key, run, endpoint, serving.runtime, *asked],
        PackageInputs(
            run=run,
            endpoint=endpoint,
            runtime=serving.runtime,
            decoding=serving.settings,
            explain=serving.explain,
            winner=selected.winner,
            prepared=prepared,
            code=_code(experiment, facts),
            versions=facts.versions["train"],
        ),
        after=(select.id,),
    )
    packaged = place_of(package.id, Packaged)
    deploy = _step(
        "deploy",
        facts,
        [package.key, facts.incarnation, serving.port],
        DeployInputs(
            run=run,
            endpoint=endpoint,
            serving=serving,
            packaged=packaged,
            trial=selected.trial,
            code=_code(experiment, facts),
        ),
        after=(package.id,),
    )
    release = places_in(deploy.id, Deployed).release
    verify = _step(
        "verify",
        facts,
        [deploy.key],
        VerifyInputs(
            endpoint=endpoint,
            release=release,
            packaged=packaged,
            winner=selected.winner,
            prepared=prepared,
            code=_code(experiment, facts),
        ),
        after=(deploy.id,),
    )
    promote = _step(
        "promote",
        facts,
        [verify.key],
        PromoteInputs(run=run, endpoint=endpoint, release=release, champion=facts.champion),
        after=(verify.id,),
    )
    return [package, deploy, verify, promote]
