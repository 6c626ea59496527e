"""What a schedule's triggers look at: the data's files, the endpoint's drift, another endpoint's release."""

import hashlib
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.models.data.sources import existing, source_files
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.endpoints.drift import drift_of
from tidegate.pipelines.errors import PipelineError, error_message
from tidegate.pipelines.experiment.automation.schedule import FOR, Trigger
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.hosting.metrics import largest_drift
from tidegate.pipelines.planning.data_source import sources_of
from tidegate.pipelines.scheduling.document import Cause, Looks, ScheduleState
from tidegate.pipelines.scheduling.homes import home_of
from tidegate.pipelines.scheduling.triggers import fire, see_data, see_drift, see_release, tell_drift
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, load

Seen = dict[str, Any]
PATIENCE_S = 5.0  # for what triggers look at; other schedules wait so long
NO_ANSWER = (
    "what its triggers look at has not answered for {:g} s; its moments count, its triggers do not until then"
)


def look(home: Home, experiment: Experiment) -> Seen:
    """What is there now, by trigger: it may take a moment, so it is done before the document is changed."""
    seen: Seen = {}
    for trigger in experiment.trigger:
        if trigger.new_data is not None:
            seen["new_data"] = data_stamp(home, experiment)
        elif trigger.model is not None:
            seen[f"model {trigger.model}"] = _release(load(home.store, trigger.model))
        else:
            state = load(home.store, experiment.endpoint)
            seen["drift"] = _release(state), _drift(home, state)
    return seen


class Looker:
    """Looks beside the schedules: a bucket may not answer for minutes, and keeps no other schedule waiting.

    What takes longer than `patience` seconds is asked for again at the next call, which does not wait any more.

    Args:
        home: the home.
        patience: seconds.
    """

    def __init__(self, home: Home, patience: float = PATIENCE_S) -> None:
        self._home, self._patience = home, patience
        self._pending: dict[str, tuple[dict[str, Any], Future[Seen]]] = {}

    def look(self, state: ScheduleState, experiment: Experiment) -> Seen | None:
        """What a schedule's triggers see; None where that is not known yet.

        Raises:
            PipelineError, InfraError: as `look`.
        """
        if not experiment.trigger:
            return {}
        document, seen = self._pending.pop(state.name, (None, None))
        if seen is None or document != state.experiment:
            seen = Future[Seen]()
            home = home_of(self._home, state)
            thread = Thread(
                target=_run, args=(home, experiment, seen), name=f"look-{state.name}", daemon=True
            )
            thread.start()
            thread.join(self._patience)
        if not seen.done():
            if document is None:
                print(f"schedule {state.name}: {NO_ANSWER.format(self._patience)}", flush=True)
            self._pending[state.name] = state.experiment, seen
            return None
        return seen.result()


def _run(home: Home, experiment: Experiment, seen: "Future[Seen]") -> None:
    try:
        seen.set_result(look(home, experiment))
    except Exception as error:
        seen.set_exception(error)


def judge(state: ScheduleState, experiment: Experiment, seen: Seen, now: float) -> ScheduleState:
    """The schedule after its triggers have seen something. Pure."""
    causes: list[Cause] = []
    for trigger in experiment.trigger:
        state, cause = _judged(state, trigger, experiment.endpoint, seen, now)
        causes += [cause] if cause is not None else []
    return fire(state, causes, now)


def _judged(
    state: ScheduleState, trigger: Trigger, endpoint: str, seen: Seen, now: float
) -> tuple[ScheduleState, Cause | None]:
    fires, cause = False, _cause(trigger)
    looks: Looks = state.looks
    if trigger.new_data is not None:
        stamp = seen["new_data"]
        if isinstance(stamp, Unseen):
            looks = looks.model_copy(update={"problem": stamp.problem})
        else:
            looks, fires = see_data(looks, trigger, stamp, now)
    elif trigger.model is not None:
        looks, fires = see_release(looks, trigger.model, seen[f"model {trigger.model}"])
    else:
        release, index = seen["drift"]
        looks, fires = see_drift(looks, trigger, index, release, now)
        if fires:
            state = tell_drift(state, endpoint, index, trigger.for_ or FOR, now)
    return state.model_copy(update={"looks": looks}), cause if fires else None


def _cause(trigger: Trigger) -> Cause:
    if trigger.new_data is not None:
        return "new_data"
    return "drift" if trigger.model is None else "model"


class Unseen:
    """Data that cannot be looked at; `problem` says why."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def data_stamp(home: Home, experiment: Experiment) -> str | Unseen:
    """A digest of the names, sizes and times of the data's files; of a bucket's objects, as a plan has it."""
    total = hashlib.sha256()
    try:
        for part, path in sorted(experiment.data.paths.items()):
            if "://" in path:
                total.update(
                    f"{part} {sources_of(experiment.data, home.endpoint_of)[part].digest()}\0".encode()
                )
                continue
            for file in source_files(existing(path, f"data.split.{part}" if part else "data.source")):
                total.update(_file_stamp(part, file).encode())
    except (PipelineError, ModelsError, InfraError, OSError) as error:
        return Unseen(error_message(error))
    return total.hexdigest()


def _file_stamp(part: str, file: Path) -> str:
    known = file.stat()
    return f"{part} {file} {known.st_size} {known.st_mtime_ns}\0"


def _release(state: EndpointState) -> str:
    """The live release, which a deleted and made endpoint has not in common with the one before; "" for none."""
    return "" if state.current is None else f"{state.incarnation}.{state.current}"


def _drift(home: Home, state: EndpointState) -> float | None:
    """The largest drift index of an endpoint; None where it does not answer or has too few rows."""
    if home.target is not None:
        from tidegate.pipelines.hosting.kubernetes import KubernetesHosting  # a home's schedules do without

        place = KubernetesHosting(home)
        return largest_drift(place.addresses(state), place.trust(state))
    found = None if state.current is None else drift_of(hosting(home).url(state))
    if found is None:
        return None
    return max((*found["features"].values(), *found["predictions"].values()), default=None)
