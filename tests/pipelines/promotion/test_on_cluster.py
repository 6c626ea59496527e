"""Any number of commands follow one promotion to a cluster: each says that the release is live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipelines.far_cluster import Far, waiting_pod
from tests.pipelines.promotion.test_putting_live import promotion
from tidegate.infra.cluster.jobs import driver_name
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors import following
from tidegate.pipelines.promotion import on_cluster
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import END, Mirror
from tidegate.pipelines.state.promotions import find_promotion, forget_promotion, keep_promotion

ASKED = promotion("b" * 64)
DONE = {"release": 3, "url": "https://models.example/small", "rows": 17}


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    monkeypatch.setattr(following, "POLL_S", 0.01)
    monkeypatch.setattr(following, "CHECK_S", 0.05)
    far = Far(tmp_path)
    far.home.__dict__.update(store=far.store, cluster=far.jobs)
    return far


def ended(far: Far, **outcome: object) -> None:
    """Its Job has pushed its outcome, and is over."""
    Mirror(far.home, ASKED.id).write(END, json.dumps({"exit_code": 0, "error": "", **outcome}).encode())
    far.jobs.end()


def never() -> bool:
    raise AssertionError("asked without need")


def test_the_outcome_stays_for_whoever_else_follows(far: Far) -> None:
    keep_promotion(far.store, ASKED)
    on_cluster.start(far.home, ASKED.id)
    ended(far, **DONE)
    for _ in range(2):
        assert on_cluster.conclude(far.home, ASKED, never) == DONE
    assert find_promotion(far.store, ASKED.id) is None


def test_what_is_live_by_another_command_is_no_error(far: Far) -> None:
    """The other one has started it anew meanwhile, which removed the outcome, and it has ended again."""
    on_cluster.start(far.home, ASKED.id)
    ended(far, **DONE)
    on_cluster.start(far.home, ASKED.id)
    assert Mirror(far.home, ASKED.id).pull(END) is None and len(far.jobs.made) == 2
    far.jobs.end()
    assert on_cluster.conclude(far.home, ASKED, lambda: True) is None
    with pytest.raises(PipelineError, match="ended before it said how"):
        on_cluster.conclude(far.home, ASKED, lambda: False)
    assert far.jobs.delete("Job", driver_name(ASKED.id))
    assert on_cluster.conclude(far.home, ASKED, lambda: True) is None


def test_a_failure_is_told_where_nothing_is_live(far: Far) -> None:
    on_cluster.start(far.home, ASKED.id)
    ended(far, exit_code=1, error="golden rows were answered wrong")
    with pytest.raises(PipelineError, match="answered wrong"):
        on_cluster.conclude(far.home, ASKED, lambda: False)


def test_one_whose_pod_does_not_start(
    far: Far, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "PERMANENT_S", 0.0)
    keep_promotion(far.store, ASKED)
    on_cluster.start(far.home, ASKED.id)
    far.jobs.pods.append(waiting_pod())
    with pytest.raises(PipelineError, match=r"the promotion could not start: .*; then promote again"):
        on_cluster.conclude(far.home, ASKED, lambda: False)
    assert capsys.readouterr().err.startswith("the promotion waits: ")
    assert far.jobs.there == {} and find_promotion(far.store, ASKED.id) is None


def test_what_another_command_has_written_since_is_not_forgotten(tmp_path: Path) -> None:
    store = Home(tmp_path / "home").store
    later = ASKED.model_copy(update={"created": ASKED.created + 1})
    keep_promotion(store, ASKED)
    keep_promotion(store, later)
    forget_promotion(store, ASKED)
    assert find_promotion(store, ASKED.id) == later
    forget_promotion(store, later)
    assert find_promotion(store, ASKED.id) is None
