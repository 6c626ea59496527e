"""What of a search will have no effect, or may not fit: told when a run begins, not refused."""

from collections.abc import Iterator

from tidegate.pipelines.planning.plan import Plan

# What a forked trial of a small model takes for itself (166 to 230 MB were measured); a fresh process takes more.
LEAST_OF_A_TRIAL = 200_000_000


def search_notes(plan: Plan, local: bool, free: int) -> Iterator[str]:
    """Warnings about a run's search.

    Args:
        plan: of the run.
        local: whether it runs on this machine.
        free: memory that is available here, in bytes.
    """
    search = plan.experiment.search
    if search is None:
        return
    if local and (note := memory_note(plan, free)):
        yield note
    if local and search.pack != 1:
        yield f"warning: search.pack is {search.pack}, which is for pods of a cluster; here it has no effect"
    if search.pruning is not None and len(plan.of("train")) <= search.parallelism:
        yield (
            f"warning: search.pruning stops no trial: the first search.parallelism = {search.parallelism} trials run "
            f"to their end, and there are {len(plan.of('train'))}; lower parallelism, or raise trials"
        )


def memory_note(plan: Plan, free: int) -> str:
    """A warning where the trials at once need more than there is; "" where they may fit.

    Args:
        plan: of a run on this machine.
        free: memory that is available, in bytes.
    """
    search = plan.experiment.search
    if search is None:
        return ""
    trials = min(search.parallelism, len(plan.of("train")))
    needed = trials * LEAST_OF_A_TRIAL
    if trials == 1 or needed <= free:
        return ""
    return (
        f"warning: {trials} trials at once take {needed / 1e9:.1f} GB of memory or more, and {free / 1e9:.1f} GB are "
        "available; a trial that is killed for memory starts again twice, then fails; lower search.parallelism"
    )
