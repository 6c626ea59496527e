"""Which steps of a plan are finished, and need not run again."""

from tidegate.infra.store import Store
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.state.finished_steps import RELEASING, find_outputs
from tidegate.serving.deployment.release import load


def is_cached(plan: Plan, step: Step, store: Store) -> bool:
    """Whether a step need not run again. The releasing steps count together: all are done, or none is."""
    if step.step not in RELEASING:
        return find_outputs(store, step.key) is not None
    deploy, promote = (plan.of(name)[0].key for name in ("deploy", "promote"))
    found = {key: find_outputs(store, key) for key in {deploy, step.key, promote}}
    deployed, promoted = found[deploy], found[promote]
    if None in found.values() or not deployed or not promoted or deployed["release"] != promoted["release"]:
        return False
    # `serving.keep` forgets old ones: then all of it is done anew.
    return deployed["release"] in {known.number for known in load(store, plan.experiment.endpoint).releases}
