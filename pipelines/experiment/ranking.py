"""Which metric ranks candidates, and whether a smaller or a larger value is the better one. Pure."""

import math
from collections.abc import Mapping, Sequence

LOWER_IS_BETTER = (
    *("loss", "rmse", "mae", "ece", "mse", "perplexity", "error_rate", "hamming"),
    *("pinball", "mase", "coverage_error", "alarms"),
)
SPLITS = ("test_", "validation_", "folds_")
EPSILON = "epsilon"  # of a training with `privacy`


def split_of(metric: str) -> str:
    """The rows that a metric is of: test_ of test_rmse; "" where its name does not say them."""
    return next((split for split in SPLITS if metric.startswith(split)), "")


def plain_name(metric: str) -> str:
    """A metric's name without the rows that it is of: rmse of test_rmse."""
    return metric.removeprefix(split_of(metric))


def lower_is_better(metric: str, own_lower: Sequence[str] = ()) -> bool:
    """Whether a smaller value of the metric is the better one.

    Args:
        metric: with its prefix, such as test_rmse.
        own_lower: metrics of the user's of which lower values are better, without a prefix.
    """
    inner = plain_name(metric)
    if metric == EPSILON or inner.removesuffix("_mean") in own_lower or inner.startswith(LOWER_IS_BETTER):
        return True
    if inner.startswith("iou_"):  # of a class, whatever that is called
        return False
    # Of one of several outputs, such as animal_loss; r2_loss is of a column called loss.
    return not inner.startswith("r2_") and inner.endswith(tuple(f"_{name}" for name in LOWER_IS_BETTER))


def rank(candidates: Sequence[Mapping[str, float]], metric: str, own_lower: Sequence[str] = ()) -> list[int]:
    """Indices of the candidates, the best first; those without it are last.

    Of equal ones the lower loss on the same rows is first, then the earlier trial.

    Args:
        candidates: the metrics of each.
        metric: what ranks them.
        own_lower: see `lower_is_better`.
    """
    sign, worst = 1.0 if lower_is_better(metric, own_lower) else -1.0, math.inf
    loss = f"{split_of(metric)}loss"

    def key(index: int) -> tuple[float, float]:
        known = candidates[index]
        return (sign * known[metric] if metric in known else worst, known.get(loss, worst))

    return sorted(range(len(candidates)), key=key)


def ranking_metric(metric: str, candidates: Sequence[Mapping[str, float]]) -> str:
    """What ranks several candidates for a gate's metric: the same one of the validation rows, where one has it.

    The test rows must not choose the winner, or its figure on them would be too good.
    """
    other = metric.replace("test_", "validation_", 1) if metric.startswith("test_") else metric
    return other if len(candidates) > 1 and any(other in one for one in candidates) else metric
