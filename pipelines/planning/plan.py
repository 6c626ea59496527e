"""make_plan: turn an experiment and the facts that it depends on into steps with content-hashed keys. Pure."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.models.config.own_metrics import higher_is_better, own_metrics
from tidegate.pipelines.experiment.gate import compared_by, replayed_by
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.candidates import import_step, trial_steps
from tidegate.pipelines.planning.identity import (
    Facts,
    content_of,
    digest_of,
    memory_if_larger,
    reached,
    run_id,
    streamed_memory,
)
from tidegate.pipelines.planning.step import (
    Step,
    candidate_step,
    code_inputs,
    make_step,
    settings_key,
)
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.step_types.base import place_of, places_in
from tidegate.pipelines.step_types.import_model import Imported
from tidegate.pipelines.step_types.package import Origin, Packaged, PackageInputs
from tidegate.pipelines.step_types.prepare import Prepared, PrepareInputs
from tidegate.pipelines.step_types.release import Deployed, DeployInputs, PromoteInputs, VerifyInputs
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.step_types.train import Trained


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
    prepared = place_of(prepare.id, Prepared)
    if facts.trained is not None:
        trials = [import_step(experiment, facts, content, prepare, run)]
        imported = places_in(trials[0].id, Imported)
        candidates, prepared = [imported.trained], imported.prepared
    else:
        trials = trial_steps(experiment, facts, content, prepare, run)
        candidates = [place_of(step.id, Trained) for step in trials]
    select = _select(experiment, facts, trials, candidates, prepared, run)
    released = _release(experiment, facts, prepare, select, prepared, run)
    return Plan(run, experiment, facts, (prepare, *trials, select, *released))


def _prepare(experiment: Experiment, facts: Facts, content: dict[str, Any]) -> Step:
    data, loss, memory = experiment.data, experiment.training.loss, streamed_memory(experiment, facts)
    scale: Literal["none"] | None = "none" if facts.trained is not None else None

    def made() -> PrepareInputs:
        return PrepareInputs(
            data=data,
            loss=loss,
            kept=facts.source,
            digest=facts.data,
            kept_files=facts.kept_files,
            file_digests=facts.files,
            memory=memory,
            memory_if_larger=memory_if_larger(experiment),
            scale=scale,
            code=code_inputs(experiment, facts),
        )

    known = {key: value for key, value in content["data"].items() if key not in ("stream", "shuffle_buffer")}
    parts = [
        known,
        loss,
        *([size] if (size := memory or memory_if_larger(experiment)) else []),
        *([scale] if scale else []),
        *reached(facts, "prepare"),
    ]
    return make_step("prepare", facts, parts, made)


def _select(
    experiment: Experiment,
    facts: Facts,
    trials: list[Step],
    candidates: list[Trained],
    prepared: Prepared,
    run: str,
) -> Step:
    compared = compared_by(experiment.gate)
    gate = compared if isinstance(compared, str) else [one.model_dump(mode="json") for one in compared]
    parts = [[step.key for step in trials], gate, facts.champion]
    asked = experiment.training.metrics

    def made() -> SelectInputs:
        return SelectInputs(
            run=run,
            gate=compared,
            trials=candidates,
            champion=facts.champion,
            endpoint=experiment.endpoint,
            prepared=prepared,
            decoding=experiment.serving.settings,
            start=facts.start.run if facts.start and not facts.start.foreign else None,
            code=code_inputs(experiment, facts),
            own_lower=tuple(name for name in own_metrics(asked) if not higher_is_better(name, asked)),
            own_scored=_own_scored(experiment),
            training=experiment.training.model_dump(mode="json"),
        )

    after = tuple(step.id for step in trials)
    return make_step("select", facts, parts, made, after=after)


def _origin(experiment: Experiment, facts: Facts, steps: dict[str, str]) -> Origin:
    """What the chain of its bundle says of a plan, without what depends on where the results are used."""
    made = [step for step in facts.code if step not in RELEASING]
    return Origin(
        experiment=digest_of(content_of(experiment, facts)),
        data=facts.data,
        parts=facts.files,
        code={step: facts.code[step] for step in made},
        versions={step: facts.versions[step] for step in made},
        steps=steps,
        gate=experiment.gate,
        champion=facts.champion,
    )


def _own_scored(experiment: Experiment) -> dict[str, Any]:
    training = experiment.training
    known = {"metrics", "loss", "label_smoothing", "backend"}
    return training.model_dump(mode="json", include=known) if own_metrics(training.metrics) else {}


def _release(
    experiment: Experiment, facts: Facts, prepare: Step, select: Step, prepared: Prepared, run: str
) -> list[Step]:
    endpoint, serving, selected = experiment.endpoint, experiment.serving, places_in(select.id, Selected)
    asked = [*settings_key(serving.settings), *(["explain"] if serving.explain else [])]
    package = make_step(
        "package",
        facts,
        [select.key, run, endpoint, serving.runtime, *asked],
        lambda: PackageInputs(
            run=run,
            endpoint=endpoint,
            runtime=serving.runtime,
            decoding=serving.settings,
            explain=serving.explain,
            winner=selected.winner,
            prepared=prepared,
            code=code_inputs(experiment, facts),
            versions=facts.versions[candidate_step(experiment)],
            selected=place_of(select.id, Selected),
            origin=_origin(experiment, facts, {"prepare": prepare.key, "select": select.key}),
        ),
        after=(select.id,),
    )
    packaged = place_of(package.id, Packaged)
    deploy = make_step(
        "deploy",
        facts,
        [package.key, facts.incarnation, serving.port],
        lambda: DeployInputs(
            run=run,
            endpoint=endpoint,
            serving=serving,
            packaged=packaged,
            trial=selected.trial,
            code=code_inputs(experiment, facts),
        ),
        after=(package.id,),
    )
    release, replayed = places_in(deploy.id, Deployed).release, replayed_by(experiment.gate)
    verify = make_step(
        "verify",
        facts,
        [deploy.key, *(criterion.model_dump(mode="json") for criterion in replayed)],
        lambda: VerifyInputs(
            endpoint=endpoint,
            release=release,
            packaged=packaged,
            winner=selected.winner,
            prepared=prepared,
            code=code_inputs(experiment, facts),
            replayed_by=replayed,
        ),
        after=(deploy.id,),
    )
    promote = make_step(
        "promote",
        facts,
        [verify.key],
        lambda: PromoteInputs(run=run, endpoint=endpoint, release=release, champion=facts.champion),
        after=(verify.id,),
    )
    return [package, deploy, verify, promote]
