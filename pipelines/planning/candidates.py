"""The steps that leave a candidate: a trial each, or the import of a trained model. Pure."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from tidegate.pipelines.experiment.search import Search
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.identity import (
    Facts,
    memory_if_larger,
    reached,
    streamed_memory,
)
from tidegate.pipelines.planning.step import Step, code_inputs, make_step, settings_key
from tidegate.pipelines.step_types.base import place_of
from tidegate.pipelines.step_types.import_model import ImportInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Draw, TrainInputs, WarmStartInputs


def trial_steps(
    experiment: Experiment, facts: Facts, content: dict[str, Any], prepare: Step, run: str
) -> list[Step]:
    """The trials of a search, or the one of a run without a search."""
    steps: list[Step] = []
    shared = cache(partial(_shared_inputs, experiment, facts, content, prepare, run))
    for index in range(facts.trials):
        seen = steps[: _visible_trials(experiment, index)]
        steps.append(_trial(experiment, facts, content, prepare, shared, index, seen))
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
    shared: Callable[[], TrainInputs],
    index: int,
    seen: list[Step],
) -> Step:
    draw = _draw(experiment.search, index, len(seen))
    resources, settings = experiment.resources, experiment.serving.settings
    parts = [prepare.key, content["model"], content["training"], resources.gpus, resources.nodes]
    parts += [draw and draw.model_dump(mode="json"), [step.key for step in seen], *settings_key(settings)]
    stated = _stated(experiment)
    parts += [stated] if stated else []
    buffer = experiment.data.shuffle_buffer
    parts += reached(facts, "train")
    streamed = streamed_memory(experiment, facts) or memory_if_larger(experiment)
    parts += [buffer] if streamed and buffer else []
    made = partial(_trial_inputs, shared, index, draw)
    after = (prepare.id, *(step.id for step in seen))
    several = facts.trials > 1
    return make_step("train", facts, parts, made, name=f"train-{index}", after=after, optional=several)


def _trial_inputs(shared: Callable[[], TrainInputs], index: int, draw: Draw | None) -> TrainInputs:
    known = shared()
    return TrainInputs.model_construct(
        known.model_fields_set, **{**dict(known), "index": index, "search": draw}
    )


def _shared_inputs(
    experiment: Experiment, facts: Facts, content: dict[str, Any], prepare: Step, run: str
) -> TrainInputs:
    """What all trials get; they share it in memory, as there may be thousands."""
    return TrainInputs(
        run=run,
        name=experiment.name,
        index=0,
        prepared=place_of(prepare.id, Prepared),
        shuffle_buffer=experiment.data.shuffle_buffer,
        model=experiment.model.options,
        start=_warm_start(experiment, facts),
        weights=facts.weights,
        training=experiment.training.model_dump(mode="json"),
        gpus=experiment.resources.gpus,
        nodes=experiment.resources.nodes,
        member_timeout=experiment.resources.member_timeout,
        code=code_inputs(experiment, facts),
        decoding=experiment.serving.settings,
        stated=_stated(experiment),
        explain=experiment.serving.explain,  # changes no result, so it is not part of the key
        search=None,
        content=content,
        versions=facts.versions["train"],
        tags=facts.tags,
    )


def import_step(
    experiment: Experiment, facts: Facts, content: dict[str, Any], prepare: Step, run: str
) -> Step:
    """The step in place of the trials, for a model that is trained already."""
    assert facts.trained is not None
    trained, training = facts.trained, experiment.training.model_dump(mode="json")
    contract = trained.contract.ref if trained.contract else None
    parts = [
        prepare.key,
        content["model"],
        training["loss"],
        training["metrics"],
        contract and contract.digest,
        *reached(facts, "train"),
    ]

    def made() -> ImportInputs:
        return ImportInputs(
            run=run,
            name=experiment.name,
            prepared=place_of(prepare.id, Prepared),
            format=trained.format,
            model=trained.model.ref,
            contract=contract,
            answers=facts.answers,
            loss=training["loss"],
            metrics=training["metrics"],
            classes=experiment.model.classes,
            code=code_inputs(experiment, facts),
            content=content,
            versions=facts.versions["import"],
            tags=facts.tags,
        )

    return make_step("import", facts, parts, made, after=(prepare.id,))


def _stated(experiment: Experiment) -> tuple[str, ...]:
    """The options of training that the file states, where a model of the user's is trained; see `Suggestions`."""
    if experiment.model.family is not None:
        return ()
    return tuple(sorted(experiment.training.model_fields_set))


def _draw(search: Search | None, index: int, seen: int) -> Draw | None:
    """The number of trials is not part of a trial's key, so adding trials later keeps the old ones."""
    if search is None:
        return None
    return Draw(
        method=search.method,
        seed=search.seed,
        pruning=search.pruning,
        space=search.space,
        index=index,
        seen=seen,
    )


def _warm_start(experiment: Experiment, facts: Facts) -> WarmStartInputs | None:
    start = facts.start
    if start is None:
        return None
    freeze = experiment.model.freeze or []
    return WarmStartInputs(
        run=start.run, keras=start.keras, transforms=start.transforms, freeze=freeze, foreign=start.foreign
    )
