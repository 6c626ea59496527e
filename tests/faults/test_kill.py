"""kill -9 of the submit, or of a step, at ten seeded moments; then the same submit again."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.forking.warm import VARIABLE as WARM

from ..conftest import Cli
from .conftest import (
    QUICK,
    begun,
    check_mlflow,
    check_store,
    fork_servers,
    known_runs,
    new_run,
    settles,
    strays,
    wait,
    wait_for,
    words_of,
    workers,
)

SEED = 20260
# The first begins in an empty home; three retrain; the others find the first one's model, and release it anew.
# How steps get their processes: from fork servers of this test session, from the submit's own ones, each anew, or from
# those that an earlier submit of the home has left.
WAYS: tuple[dict[str, str], ...] = (
    {},
    {VARIABLE: ""},
    {VARIABLE: "0"},
    {VARIABLE: "", WARM: "5m"},
)
STEPS = ("prepare", "train", "train", "train", "select", "package", "deploy", "verify", "promote", "end")


@dataclass(frozen=True)
class Moment:
    """Who is killed, in which step, and how far into it (share of the step's usual seconds)."""

    number: int
    step: str
    victim: str
    share: float

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.number if self.step == "train" else 0

    @property
    def argv(self) -> list[str]:
        """The submit; a description of its own makes it a run of its own."""
        own = ["--set", f"description=moment {self.number}", "--set", f"training.seed={self.seed}"]
        return ["submit", "digits", *QUICK, *own]


def _moments() -> list[Moment]:
    dice = random.Random(SEED)
    victims = ["submit", "worker"] * (len(STEPS) // 2)
    dice.shuffle(victims)
    return [
        Moment(number, step, "submit" if step == "end" else victim, dice.random())
        for number, (step, victim) in enumerate(zip(STEPS, victims, strict=True))
    ]


MOMENTS = _moments()


@pytest.fixture(scope="module")
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another home where nothing goes wrong: metrics by training seed, seconds by step."""
    cli = Cli(Path(tmp_path_factory.mktemp("undisturbed")) / "home")
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    seeds = sorted({0} | {call["moment"].seed for call in calls if "moment" in call})
    space = f"search={{method: grid, parallelism: 2, space: {{training.seed: {{choices: {seeds}}}}}}}"
    answer = cli.ok("submit", "digits", *QUICK, "--set", space)
    cli("down")
    metrics = {trial["params"]["training.seed"]: trial["metrics"] for trial in answer["trials"]}
    return metrics, {step["step"]: step["seconds"] for step in answer["steps"]}


def _strike(
    cli: Cli, run: str, moment: Moment, seconds: dict[str, float], submit: Any
) -> list[psutil.Process]:
    """Kill the moment's victim when the moment has come; return the fork servers that the submit had started."""
    if moment.step == "end":
        wait_for("the end", lambda: "promote" in begun(cli, run) and not workers(cli))
        time.sleep(moment.share)
    else:
        wait_for(moment.step, lambda: moment.step in begun(cli, run))
        time.sleep(moment.share * seconds[moment.step] * 0.9)
    servers = fork_servers(submit)
    if moment.victim == "submit":
        submit.kill()
        return servers
    victim = wait_for("a step's process", lambda: workers(cli) or submit.poll() is not None)
    assert isinstance(victim, list), "the submit ended before the moment came"
    psutil.Process(victim[0].pid).kill()
    return servers


def _name(moment: Moment) -> str:
    return f"{moment.number}-{moment.victim}-in-{moment.step}"


@pytest.mark.parametrize("moment", MOMENTS, ids=_name)
def test_killed_and_submitted_again(moment: Moment, house: Cli, undisturbed: Any) -> None:
    metrics, seconds = undisturbed
    before = known_runs(house)
    submit = replace(house, env=WAYS[moment.number % len(WAYS)]).start(*moment.argv)
    run = new_run(house, before)
    servers = _strike(house, run, moment, seconds, submit)
    killed = wait(submit)
    wait_for("the end of its fork servers", lambda: not any(words_of(one) for one in servers))
    assert killed.code == (0 if moment.victim == "worker" else -9), killed.stderr
    settles(house)
    check_store(house)

    again = house.ok(*moment.argv)

    assert (again["run"], again["status"], again["synced"]) == (run, "done", True)
    assert again["metrics"] == metrics[moment.seed]
    check_mlflow(house, run)
    check_store(house)
    assert strays(house) == []


def test_nothing_is_left(house: Cli) -> None:
    house("down")
    assert house.processes() == []
