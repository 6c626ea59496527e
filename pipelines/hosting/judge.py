"""Whether a canary does as well as the champion: pure arithmetic on the counts of both."""

import math
from dataclasses import dataclass

from tidegate.pipelines.experiment.serving import Slo
from tidegate.pipelines.hosting.metrics import Counts

MIN_JUDGED = 20  # requests before errors and latency are judged
MIN_REQUESTS = 100  # requests to champion and canary each, before a step may pass
# Without objectives in the experiment these apply, and the champion's own figures.
DEFAULT_SLO = Slo.model_construct()
ALLOWED_DISTANCE = 0.2  # distance between the distributions of predictions that is normal for a better model
SIGNIFICANCE = 0.001  # probability that a reported difference is due to chance alone


@dataclass(frozen=True)
class Verdict:
    """The result of a comparison.

    Attributes:
        figures: measurements and limits by name.
        problem: why the canary must stop; "" if nothing is wrong.
        enough: whether there were enough requests to let it pass.
    """

    figures: dict[str, float]
    problem: str
    enough: bool


def judge(champion: Counts, canary: Counts, slo: Slo | None) -> Verdict:
    """Compare errors, latency and predictions.

    The errors and slow requests allowed are the number expected at the limit, plus three standard deviations of a
    Poisson count, plus one. Distributions of predictions are compared by `distance` and `distance_limit`.

    Args:
        champion: counts since the canary began.
        canary: counts during this step.
        slo: the endpoint's objectives; without them a canary may be at most twice as slow as the champion.
    """
    rate = max((slo or DEFAULT_SLO).error_rate, _share(champion.errors, champion.requests))
    p99 = champion.p99_ms()
    slowest = max(slo.p99_ms, 1.2 * p99) if slo else 2 * p99 + 10
    farthest = distance_limit(champion, canary)
    figures = {
        "champion_requests": champion.requests,
        "canary_requests": canary.requests,
        "champion_error_rate": _share(champion.errors, champion.requests),
        "canary_error_rate": _share(canary.errors, canary.requests),
        "error_rate_limit": rate,
        "champion_p99_ms": p99,
        "canary_p99_ms": canary.p99_ms(),
        "p99_ms_limit": slowest,
        "prediction_distance": distance(champion, canary),
        "prediction_distance_limit": farthest,
    }
    figures = {key: round(value, 4) for key, value in figures.items()}
    enough = min(champion.requests, canary.requests) >= MIN_REQUESTS and bool(canary.latency.total())
    problem = _errors(canary, rate) or _latency(canary, slowest)
    problem = problem or (_predictions(champion, canary, farthest) if enough else "")
    return Verdict(figures, problem, enough)


def _errors(canary: Counts, rate: float) -> str:
    if canary.requests < MIN_JUDGED or canary.errors <= _allowed(rate, canary.requests):
        return ""
    return (
        f"{canary.errors:g} of its {canary.requests:g} requests failed "
        f"({_share(canary.errors, canary.requests):.2%}); allowed is {rate:.2%}"
    )


def _latency(canary: Counts, limit_ms: float) -> str:
    answered, slower = canary.latency.total(), canary.slower_than(limit_ms)
    if answered < MIN_JUDGED or slower <= _allowed(0.01, answered):
        return ""
    return (
        f"its p99 is {canary.p99_ms():.3g} ms over {answered:g} requests; {slower:.0f} of them took longer than "
        f"the limit of {limit_ms:.3g} ms"
    )


def _predictions(champion: Counts, canary: Counts, limit: float) -> str:
    found = distance(champion, canary)
    if found <= limit:
        return ""
    return (
        f"the distance of its predictions from the champion's is {found:.2f} (0 the same, 1 nothing in common); "
        f"allowed is {limit:.2f} for {canary.predictions.total():g} and {champion.predictions.total():g} rows"
    )


def distance(champion: Counts, canary: Counts) -> float:
    """Total variation distance of the two distributions of predictions, from 0 to 1; 0 where one is empty."""
    left, right = champion.predictions, canary.predictions
    if not left.total() or not right.total():
        return 0.0
    kinds = left.keys() | right.keys()
    return sum(abs(left[kind] / left.total() - right[kind] / right.total()) for kind in kinds) / 2


def distance_limit(champion: Counts, canary: Counts) -> float:
    """The distance above which models differ: ALLOWED_DISTANCE, plus what chance adds except with SIGNIFICANCE.

    Samples of n and m rows of one distribution over k kinds are at most sqrt((k - 1)(1/n + 1/m)) / 2 apart on average
    (by Cauchy and Schwarz), and farther by t only with probability exp(-2 t^2 / (1/n + 1/m)) (McDiarmid's inequality:
    one row changes the distance by 1/n or 1/m).
    """
    n, m = champion.predictions.total(), canary.predictions.total()
    if not n or not m:
        return 1.0
    kinds = len(champion.predictions.keys() | canary.predictions.keys())
    noise = 1 / n + 1 / m
    return min(
        1.0,
        ALLOWED_DISTANCE
        + math.sqrt((kinds - 1) * noise) / 2
        + math.sqrt(-math.log(SIGNIFICANCE) * noise / 2),
    )


def _allowed(rate: float, count: float) -> float:
    return rate * count + 3 * math.sqrt(rate * count) + 1


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
