"""Whether the trials that run at once fit this machine's memory: told, not refused, because nobody knows before."""

from tidegate.pipelines.planning.plan import Plan

# What a forked trial of a small model takes for itself (166 to 230 MB were measured); a fresh process takes more.
LEAST_OF_A_TRIAL = 200_000_000


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
