"""Two submits at once in one home: the same experiment, different ones, and two for one endpoint."""

from collections.abc import Sequence
from typing import Any

from ..conftest import Cli, Ran
from ..forked import Forked
from .conftest import (
    QUICK,
    champion_run,
    check_mlflow,
    check_store,
    endpoint_state,
    known_runs,
    predict,
    row_of,
    strays,
    wait,
)


def _at_once(cli: Cli, *each: Sequence[str]) -> list[Ran]:
    started: list[Forked] = [cli.start("submit", *args, "--json") for args in each]
    return [wait(one) for one in started]


def test_the_same_experiment_is_one_run(house: Cli) -> None:
    first, second = _at_once(house, ["digits", *QUICK], ["digits", *QUICK])

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    one, other = first.json, second.json
    assert {**one, "steps": None, "trials": None} == {**other, "steps": None, "trials": None}
    assert [trial["mlflow_run_id"] for trial in (*one["trials"], *other["trials"])] == [
        check_mlflow(house, one["run"])[1]
    ] * 2
    assert sorted({step["status"] for step in (*one["steps"], *other["steps"])}) == ["cached", "done"]
    assert one["release"] == 1
    assert known_runs(house) == {one["run"]}
    check_store(house)
    assert strays(house) == []


def test_different_experiments_go_side_by_side(house: Cli) -> None:
    quick = ["--set", "training.epochs=20", "--set", "gate.minimum=0.5"]
    digits, wine = _at_once(house, ["digits", *QUICK, "--set", "description=b"], ["wine", *quick])

    assert (digits.code, wine.code) == (0, 0), digits.stderr + wine.stderr
    assert digits.json["endpoint"] != wine.json["endpoint"]
    for answer in (digits.json, wine.json):
        assert (answer["status"], answer["synced"]) == ("done", True)
        check_mlflow(house, answer["run"])
        assert predict(answer["endpoint"], row_of(answer))["release"] == answer["release"]
    assert strays(house) == []


def test_two_seeds_for_one_endpoint(house: Cli) -> None:
    gate = ["--set", "gate={metric: test_accuracy, minimum: 0.8}"]
    each = [["digits", *QUICK, *gate, "--set", f"training.seed={seed}"] for seed in (11, 12)]
    ran = _at_once(house, *each)

    done, answers = _ended(ran)
    for answer in answers:
        assert answer["synced"], ran
        check_mlflow(house, answer["run"])
    releases = [answer["release"] for answer in done]
    assert len(set(releases)) == len(releases)
    state = endpoint_state(house)
    assert state["current"] == max(releases)
    assert [known["state"] for known in state["releases"]].count("live") == 1
    assert "pending" not in [known["state"] for known in state["releases"]]
    live = next(answer for answer in done if answer["release"] == state["current"])
    assert predict(live["endpoint"], row_of(live))["release"] == state["current"]
    assert champion_run(house) == live["trials"][0]["mlflow_run_id"]
    assert strays(house) == []


def _ended(ran: list[Ran]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Answers of those that were released, and of all; each is done, or refused by the gate."""
    assert {one.code for one in ran} <= {0, 3}, [one.stderr for one in ran]
    answers = [one.json for one in ran]
    expected = {0: "done", 3: "refused"}
    assert [answer["status"] for answer in answers] == [expected[one.code] for one in ran]
    done = [answer for answer in answers if answer["status"] == "done"]
    assert done
    return done, answers
