"""reproduce: train a run's winner again from what it took then, and name the first thing that differs."""

from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.store import Ref
from tidegate.pipelines.commands.provenance.differences import (
    epoch_difference,
    epochs_of,
    prepared_difference,
    weight_difference,
    weights_of,
)
from tidegate.pipelines.commands.provenance.repeated import call_of, check_repeatable, repeat, throwaway_home
from tidegate.pipelines.commands.runs.winner import selection_of
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.planning.facts import code_digest, library_versions
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.finished_steps import find_outputs, outputs_of
from tidegate.pipelines.state.home import Home, RunRecord, StepRecord
from tidegate.pipelines.state.mirror import refresh
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.serving.bundle.bundle import CHAIN
from tidegate.serving.bundle.chain import Chain, read_chain
from tidegate.serving.errors import ServingError


@dataclass
class Found:
    """What the repetition found so far: what differs first, and what is only told."""

    step: str = ""
    epoch: int | None = None
    what: str = ""
    epochs: int = 0
    arrays: int = 0
    notes: list[str] = field(default_factory=list)


def reproduce(home: Home, run: str) -> Result:
    """Prepare the data and train the winner again, in a throwaway home; nothing of this one is changed.

    Args:
        home: the home.
        run: a run's id, or an experiment's name for its newest run.

    Returns:
        Exit code 1 where something differs, or a step cannot be repeated.

    Raises:
        UnknownNameError: no such run.
        UsageError: it has no winner, or one that cannot be trained again here.
    """
    refresh(home, run, "calls/*")
    record = home.newest_run(run).read()
    prepare, trained = _steps(home, record)
    calls = [call_of(home, record.run, step) for step in (prepare, trained)]
    for call in calls:
        check_repeatable(call)
    found = Found()
    chain = _chain(home, record)
    with throwaway_home(home) as scratch:
        for step, call, compare in zip((prepare, trained), calls, (_prepared, _trained), strict=True):
            inputs = _inputs(call, chain)
            then = find_outputs(home.store, step.key)
            if then is None:
                raise UsageError(
                    f"run {record.run}: the files of step {step.id} are gone; expected them; submit again"
                )
            try:
                compare(home, scratch, then, repeat(home, scratch, call), found)
            except PipelineError as error:
                found.what = str(error)
            found.notes += inputs
            if found.what:
                found.step = step.step
                break
    return _result(record.run, trained.id, found)


def _steps(home: Home, record: RunRecord) -> tuple[StepRecord, StepRecord]:
    selected = selection_of(home, record)
    if selected is None:
        raise UsageError(
            f"run {record.run} is {record.status} and has no winner; expected a run whose gate has judged"
        )
    by_id = {step.id: step for step in record.steps}
    trial = by_id[selected["trial"]]
    if trial.step != "train":
        raise UsageError(f"run {record.run} imported a trained model; expected one that it trained itself")
    return next(step for step in record.steps if step.step == "prepare"), trial


def _chain(home: Home, record: RunRecord) -> Chain | None:
    """The chain of the run's bundle; None of a refused run, and of one of an earlier version."""
    packaged = next(iter(outputs_of(home, record, "package")), None)
    if packaged is None:
        return None
    try:
        path = fetch_bundle(home, packaged["bundle"]) / CHAIN
        return read_chain(path.read_bytes()) if path.is_file() else None
    except (InfraError, PipelineError, ServingError):
        return None


def _inputs(call: StepCall, chain: Chain | None) -> list[str]:
    """What a step takes today and took otherwise then: libraries and our code, in sentences."""
    if chain is None:
        return []
    then, now = chain.lock.versions.get(call.step, {}), library_versions(call.step)
    pairs = {name: (then.get(name, "none"), now.get(name, "none")) for name in sorted(then | now)}
    changed = [f"{name} {was} -> {is_now}" for name, (was, is_now) in pairs.items() if was != is_now]
    notes = [f"step {call.step}, input libraries: {', '.join(changed)}"] if changed else []
    own = isinstance(call.inputs, CodedInputs) and call.inputs.code is not None
    if not own and chain.code.steps.get(call.step) != code_digest(call.step):
        notes.append(f"step {call.step}, input code: Tidegate's own has changed since")
    return notes


def _prepared(home: Home, scratch: Home, then: dict[str, Any], now: dict[str, Any], found: Found) -> None:
    del home, scratch
    found.what = prepared_difference(then, now)


def _trained(home: Home, scratch: Home, then: dict[str, Any], now: dict[str, Any], found: Found) -> None:
    one, other = epochs_of(home.store, then), epochs_of(scratch.store, now)
    found.epochs = len(one)
    differs = epoch_difference(one, other)
    if differs is not None:
        found.epoch, found.what = differs
        return
    files = [
        store.fetch(Ref.model_validate(made["keras"]))
        for store, made in ((home.store, then), (scratch.store, now))
    ]
    arrays = [weights_of(file) for file in files]
    found.arrays = len(arrays[0])
    found.what = weight_difference(*arrays)
    if not found.what and then["reference"]["digest"] != now["reference"]["digest"]:
        found.what = "its answers to the test rows differ, though its weights do not"


def _result(run: str, trial: str, found: Found) -> Result:
    differs = None if not found.what else {"step": found.step, "epoch": found.epoch, "what": found.what}
    data = {
        "run": run,
        "trial": trial,
        "equal": differs is None,
        "differs": differs,
        "epochs": found.epochs,
        "arrays": found.arrays,
        "notes": found.notes,
    }
    if differs is None:
        text = f"{run} is reproduced to the bit: {found.epochs} epochs, {found.arrays} arrays of {trial}"
    else:
        place = f", epoch {found.epoch}" if found.epoch else ""
        text = f"{run} differs first in step {found.step}{place}: {found.what}"
    return Result(data, "\n".join([text, *found.notes]), 0 if differs is None else 1)
