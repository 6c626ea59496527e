"""The registry's alias against a real MLflow server."""

from collections.abc import Callable

import pytest

from tests.infra.conftest import Lossy, Server, Told
from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import registry, replay
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.mlflow.tracking import Tracker

Make = Callable[[], Told]


def trained(make: Make, url: str) -> str:
    run = make()
    run.write()
    assert run.follow(url).synced
    return str(replay.state(run.folder)["trial-0"]["run_id"])


def test_the_alias_goes_forth_and_back(mlflow: Server, tracker: Tracker, told: Make) -> None:
    first, second = trained(told, mlflow.url), trained(told, mlflow.url)
    assert registry.champion(tracker, "letters") is None
    for release, (winner, version) in enumerate([(first, "1"), (second, "2"), (first, "1"), (first, "1")], 1):
        got = registry.set_champion(tracker, "letters", winner, "won", {"tidegate.release": release})
        assert got == version
        assert registry.champion(tracker, "letters") == winner
    named = tracker.client.get_model_version_by_alias("letters", "champion")
    assert named.tags == {"tidegate.release": "4"}
    assert named.description == "won"
    assert named.source.startswith("models:/m-")
    assert len(tracker.client.search_model_versions("name = 'letters'")) == 2
    for _ in range(2):
        registry.clear_champion(tracker, "letters")
        assert registry.champion(tracker, "letters") is None
    registry.clear_champion(tracker, "unheard-of")


def test_a_version_is_made_once_though_its_answer_is_lost(lossy: Lossy, mlflow: Server, told: Make) -> None:
    winner = trained(told, mlflow.url)
    tracker = Tracker(lossy.url)
    lossy.arm(0, answered=True)
    assert registry.set_champion(tracker, "lost-0", winner) == "1"
    calls = lossy.count
    assert calls >= 6
    for number in range(1, calls):  # one less: the first time also linked the model to the parent run
        lossy.arm(number, answered=True)
        with pytest.raises(TrackingError, match=r"did not accept lost-[0-9]+'s champion"):
            registry.set_champion(tracker, f"lost-{number}", winner)
        assert registry.set_champion(tracker, f"lost-{number}", winner) == "1"
        assert len(tracker.client.search_model_versions(f"name = 'lost-{number}'")) == 1


def test_a_run_that_cannot_be_asked_for_is_not_taken_for_a_missing_one(
    lossy: Lossy, mlflow: Server, told: Make
) -> None:
    winner, tracker = trained(told, mlflow.url), Tracker(lossy.url)
    assert registry.has_run(tracker, winner)
    assert not registry.has_run(tracker, "0" * 32)
    lossy.arm(1, answered=False)
    with pytest.raises(TrackingError, match="cannot return run"):
        registry.has_run(tracker, winner)
    tracker.client.delete_run(winner)
    assert not registry.has_run(tracker, winner)


def test_a_winner_without_a_model_is_refused(mlflow: Server, tracker: Tracker, told: Make) -> None:
    run = told()
    Spool(run.folder).write("run", "run", name=run.run, experiment="digits")
    assert run.follow(mlflow.url).synced
    run_id = replay.state(run.folder)["run"]["run_id"]
    with pytest.raises(TrackingError, match=f"MLflow run {run_id} has no model yet; sync its run first"):
        registry.set_champion(tracker, "none-yet", run_id)
    assert registry.champion(tracker, "none-yet") is None


def test_a_dead_server_is_said() -> None:
    tracker = Tracker("http://127.0.0.1:9")
    with pytest.raises(TrackingError, match="did not accept a's champion"):
        registry.set_champion(tracker, "a", "0" * 32)
    with pytest.raises(TrackingError, match="cannot return a's champion"):
        registry.champion(tracker, "a")
    with pytest.raises(TrackingError, match="did not delete a's champion"):
        registry.clear_champion(tracker, "a")
