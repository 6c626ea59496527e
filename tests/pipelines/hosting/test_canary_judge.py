"""A canary is judged by what it and the champion have counted: errors, latency, predictions, and enough of each."""

from collections import Counter

import pytest

from tidegate.pipelines.experiment.serving import Slo
from tidegate.pipelines.hosting.canary import replicas_for
from tidegate.pipelines.hosting.judge import SIGNIFICANCE, distance, distance_limit, judge
from tidegate.pipelines.hosting.metrics import Counts, parse, since

LABELS = {"cat": 60, "dog": 30, "cow": 10}
FAST, SLOW = 0.005, 1.0  # upper bounds of buckets in seconds
SLO = Slo(p99_ms=50, error_rate=0.001)


def counts(
    requests: int = 1000, errors: int = 0, slow: int = 0, labels: dict[str, int] | None = None
) -> Counts:
    answered = requests - errors
    shares = LABELS if labels is None else labels
    total = sum(shares.values()) or 1
    predictions = Counter({label: answered * share // total for label, share in shares.items()})
    return Counts(requests, errors, Counter({FAST: answered - slow, 0.5: 0, SLOW: slow}), predictions)


@pytest.mark.parametrize("slo", [None, SLO])
def test_one_that_is_as_good_passes(slo: Slo | None) -> None:
    verdict = judge(counts(), counts(300, slow=3), slo)
    assert (verdict.problem, verdict.enough) == ("", True)
    assert verdict.figures["canary_requests"] == 300


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (counts(100, errors=10), "10 of its 100 requests failed (10.00%); allowed is 0.10%"),
        (counts(100, slow=60), "its p99 is"),
        (counts(200, labels={"cow": 1}), "the distance of its predictions from the champion's is 0.90"),
    ],
)
def test_one_that_is_worse_is_told_by_its_figures(canary: Counts, words: str) -> None:
    assert words in judge(counts(), canary, SLO).problem


def test_a_single_bad_request_is_no_verdict() -> None:
    assert judge(counts(), counts(100, errors=1, slow=1), SLO).problem == ""


def test_few_requests_neither_pass_nor_fail() -> None:
    verdict = judge(counts(), counts(10, errors=5, labels={"cow": 1}), SLO)
    assert (verdict.problem, verdict.enough) == ("", False)
    assert not judge(counts(), counts(99), SLO).enough
    assert not judge(counts(99), counts(), SLO).enough


def test_a_canary_may_fail_and_dawdle_as_much_as_the_champion_does() -> None:
    bad = counts(1000, errors=50, slow=200)
    assert judge(bad, counts(400, errors=20, slow=80), SLO).problem == ""


def test_p99_is_interpolated_and_slow_requests_are_counted() -> None:
    measured = Counts(100, 0, Counter({0.01: 98, 0.1: 2}))
    assert measured.p99_ms() == pytest.approx(55)
    assert measured.slower_than(55) == pytest.approx(1)
    assert Counts().p99_ms() == 0
    assert Counts(1, 0, Counter({0.01: 0, float("inf"): 1})).p99_ms() == pytest.approx(10)


def test_distance_is_total_variation() -> None:
    one, other = counts(labels={"a": 1, "b": 1}), counts(labels={"b": 1, "c": 1})
    assert distance(one, one) == 0
    assert distance(one, other) == pytest.approx(0.5)
    assert distance(one, Counts()) == 0


def test_chance_alone_is_hardly_ever_called_a_difference() -> None:
    """Two samples of one distribution stay below the limit without its allowance far more often than promised."""
    import random

    rng, over = random.Random(7), 0
    for _ in range(2000):
        drawn = [Counter(rng.choices("abcdefghij", k=size)) for size in (150, 600)]
        left, right = (Counts(predictions=Counter(sample)) for sample in drawn)
        over += distance(left, right) > distance_limit(left, right) - 0.2
    assert over / 2000 <= SIGNIFICANCE


PAGE = """# TYPE tidegate_requests_total counter
tidegate_requests_total{code="200",endpoint="d",release="1",route="/predict"} 90.0
tidegate_requests_total{code="503",endpoint="d",release="1",route="/v2/infer"} 6.0
tidegate_requests_total{code="499",endpoint="d",release="1",route="/predict"} 4.0
tidegate_requests_total{code="200",endpoint="d",release="1",route="/readyz"} 1e+03
tidegate_request_seconds_bucket{endpoint="d",le="0.001",release="1"} 50.0
tidegate_request_seconds_bucket{endpoint="d",le="+Inf",release="1"} 90.0
tidegate_predictions_total{endpoint="d",label="a \\"b\\",c",release="1"} 70.0
tidegate_predictions_total{endpoint="d",label="6",release="1"} 0.0
tidegate_prediction_value_bucket{endpoint="d",le="1.0",release="1"} 3.0
tidegate_prediction_value_bucket{endpoint="d",le="+Inf",release="1"} 5.0
"""


def test_a_page_is_read_as_it_is_written() -> None:
    found = parse(PAGE)
    assert found is not None
    assert (found.requests, found.errors) == (96, 6)
    assert found.latency == {0.001: 50, float("inf"): 40}
    assert found.predictions == {'a "b",c': 70, "1.0": 3, "inf": 2}
    assert parse("<html>not found</html>") is None


def test_only_what_was_counted_since_counts() -> None:
    page = parse(PAGE)
    assert page is not None
    assert since({"pod-1": page}, {"pod-1": page + counts(10), "pod-2": counts(5)}).requests == 15
    assert since({"gone": page}, {}).requests == 0


@pytest.mark.parametrize(
    ("weight", "champions", "replicas"), [(10, 1, 1), (10, 9, 1), (50, 3, 3), (25, 6, 2)]
)
def test_without_a_gateway_replicas_make_the_share(weight: int, champions: int, replicas: int) -> None:
    assert replicas_for(weight, champions) == replicas
