"""Which steps of a plan are finished, and need not run again."""

from tidegate.infra.store import Store
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.state.finished_steps import RELEASING, find_outputs


def is_cached(plan: Plan, step: Step, store: Store) -> bool:
    """Whether a step need not run again. The releasing steps count together: all are done, or none is."""
    keys = {plan.of("promote")[0].key, step.key} if step.step in RELEASING else {step.key}
    return all(find_outputs(store, key) is not None for key in keys)
