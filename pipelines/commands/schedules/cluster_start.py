"""Begins a schedule's run on a cluster, once, however many processes try it at the same time.

Each step is a conditional write, or the creation of an object with a name: the run's id in the schedule's document, its
record, and its driver's Job. Whoever comes after a kill goes on with what it finds.
"""

import time

from tidegate.infra.cluster.images import tag
from tidegate.infra.cluster.jobs import LABEL, Object, driver_name, is_finished
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.commands.runs.decided import refusal
from tidegate.pipelines.commands.schedules.beat import other_images
from tidegate.pipelines.commands.submit import new_record
from tidegate.pipelines.driver.job import CANCEL
from tidegate.pipelines.driver.kept_plan import PLAN, plan_document, plan_of_now, read_plan
from tidegate.pipelines.driver.notifications import notify_of
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors.manifests import driver_of
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.history.actors import actor_of
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.scheduling.document import Outcome, ScheduleState
from tidegate.pipelines.state.home import UNDERWAY, Home, RunRecord
from tidegate.pipelines.state.mirror import END, RECORD, Mirror, known_run

START = f"{LABEL}/start"  # on a driver's Job: the start of a schedule that it is
PAUSE_S = 0.3


def planned(home: Home, state: ScheduleState) -> Plan:
    """The run that a schedule starts now: with its code as it was set, and the data in buckets as it is.

    Raises:
        PipelineError: the images have other code.
        ExperimentError, StoreError: the data is gone, or cannot be reached.
    """
    assert state.cluster is not None
    if problem := other_images(state, tag()):
        raise PipelineError(problem)
    experiment = validate(state.experiment, f"schedule {state.name}")
    return plan_of_now(state.cluster.facts, experiment, home)


def may_begin(home: Home, run: str, cause: str) -> bool:
    """Whether there is something to begin: the run is not done, underway or waiting, and no person refused it.

    What this very start has begun may be gone on with, see `begin_kept`.
    """
    known = known_run(home, run)
    if known is None or known.cause == cause:
        return True
    return not (known.status in (*UNDERWAY, "done") or refusal(home, known))


def keep_plan(home: Home, plan: Plan) -> None:
    """Leave the plan where the run's driver finds it."""
    Mirror(home, plan.run).write(PLAN, plan_document(plan))


def begin_kept(home: Home, run: str, cause: str) -> Outcome | None:
    """Begin a run whose plan is kept, unless this very start has begun.

    Args:
        home: of the schedule.
        run: its id.
        cause: the start, as the run's record has it.

    Returns:
        `started`; `unchanged` where somebody else has begun the run meanwhile, and there is nothing to begin; None, and
        nothing is written, where the driver of an attempt before still ends: ask again.

    Raises:
        ConflictError: somebody else has just written the record; try again.
        PipelineError: the plan is gone.
    """
    mirror = Mirror(home, run)
    home.folder_of(run).create()
    found = home.store.read(mirror.key(RECORD))
    known = None if found is None else RunRecord.model_validate_json(found[0])
    if known is None or known.cause != cause:
        if not may_begin(home, run, cause):
            return "unchanged"
        if _driver_ends(home, run, cause):
            return None
        known = _queued(home, mirror, known, cause)
        home.store.write(mirror.key(RECORD), known.model_dump_json(indent=1).encode(), found and found[1])
    if known.status == "queued":
        _ensure_driver(home, mirror, known)
    return "started"


def _driver_ends(home: Home, run: str, cause: str) -> bool:
    """Whether a driver that is not of this start still lives, though the run's record says that it is over.

    It still writes the record, once more at its very end, and no other Job can have its name before it is gone.
    """
    job = home.cluster.get("Job", driver_name(run))
    return job is not None and not _is_ours(job, cause) and not is_finished(job)


def _queued(home: Home, mirror: Mirror, known: RunRecord | None, cause: str) -> RunRecord:
    content = mirror.pull(PLAN)
    if content is None:
        raise PipelineError(
            f"the store has no plan of run {mirror.run}; expected one; run the schedule again"
        )
    record = known or new_record(read_plan(content, home))
    asked = {"by": actor_of(home), "message": f"the schedule {cause}", "cause": cause}
    return record.model_copy(update={"status": "queued", "created": time.time(), "reason": "", **asked})


def _ensure_driver(home: Home, mirror: Mirror, record: RunRecord) -> None:
    """Create the driver's Job, if it was never created for this start; a finished one of an earlier start goes."""
    assert home.target is not None
    job = driver_of(home.target, mirror.run, notify_of(record))
    job["metadata"]["annotations"] = {**job["metadata"].get("annotations", {}), START: record.cause}
    found = home.cluster.get("Job", driver_name(mirror.run))
    while found is None or _is_left_over(found, record.cause):
        if found is None:
            for name in (END, CANCEL):
                mirror.delete(name)
            try:
                home.cluster.create(job)
                return
            except AlreadyExistsError:
                pass
        else:
            home.cluster.delete("Job", driver_name(mirror.run), uid=found["metadata"]["uid"])
            time.sleep(PAUSE_S)
        found = home.cluster.get("Job", driver_name(mirror.run))


def _is_left_over(job: Object, cause: str) -> bool:
    return not _is_ours(job, cause) and (is_finished(job) or bool(job["metadata"].get("deletionTimestamp")))


def _is_ours(job: Object, cause: str) -> bool:
    return bool(job["metadata"].get("annotations", {}).get(START) == cause)
