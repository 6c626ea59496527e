"""A trial on several processes of this machine: prepare and train, by the same executor and worker as any other run."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import pytest

from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.errors import CancelledError, ExperimentError, StepError
from tidegate.pipelines.executors import make_executor
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home, StepRecord

DOCUMENT: dict[str, Any] = {
    "name": "members",
    "data": {"dataset": "digits"},
    "model": {"family": "mlp", "hidden": [32], "dropout": 0.2},
    "training": {"backend": "jax", "epochs": 4, "batch_size": 32},
}


def plan_of(home: Home, nodes: int, epochs: int, every: int | str = 40, **resources: Any) -> Plan:
    """The first two steps of a run."""
    training = {**DOCUMENT["training"], "epochs": epochs, "checkpoint": {"every": every}}
    asked = {**DOCUMENT, "training": training, "resources": {"nodes": nodes, **resources}}
    experiment = validate(asked, "here")
    plan = make_plan(experiment, gather(experiment, home))
    return replace(plan, steps=plan.steps[:2])


@dataclass
class Told:
    """Keeps what a run tells; `on_poll` may do something to it."""

    on_poll: Callable[[], None] = lambda: None
    words: list[str] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """Not looked at."""

    def on_retry(self, _: str, signal: int) -> None:
        self.retries.append(signal)

    def on_notice(self, _: str, text: str) -> None:
        self.words.append(text)


def trained(home: Home, plan: Plan, told: Told | None = None, executor: str = "local") -> dict[str, Any]:
    """The train step's outputs."""
    folder = home.folder_of(plan.run)
    folder.create()
    return run_plan(plan, make_executor(executor), home.store, folder, told or Told())[plan.steps[1].id]


def member(home: Home, plan: Plan, rank: int) -> psutil.Process | None:
    """A living process of the train step."""
    for process in psutil.Process().children():
        try:
            mine = plan.steps[1].id in process.cmdline() and str(home.path) in " ".join(process.cmdline())
            if mine and process.environ().get("TIDEGATE_RANK") == str(rank):
                return process
        except psutil.Error:
            continue
    return None


@dataclass
class Blow:
    """Sends a member a signal once the training has come to an epoch; once."""

    home: Home
    plan: Plan
    rank: int
    signal: signal.Signals
    epoch: int = 3
    struck: psutil.Process | None = None

    def __call__(self) -> None:
        progress = self.home.folder_of(self.plan.run).path / "progress" / f"{self.plan.steps[1].id}.json"
        if self.struck is None and progress.exists():
            found, told = member(self.home, self.plan, self.rank), json.loads(progress.read_text())
            if found is None or told["t"] < found.create_time():  # it is of an earlier try
                return
            if told["epoch"] >= self.epoch:
                self.struck = found
                os.kill(found.pid, self.signal)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("members") / "home")


def test_of_two_processes_one_tells_keeps_and_writes(home: Home) -> None:
    plan = plan_of(home, 2, 3)
    found = trained(home, plan)
    assert (found["epochs"], found["resumed"], found["export_error"]) == (3, "", "")
    step, folder = plan.steps[1].id, home.folder_of(plan.run)
    assert [path.name for path in (home.spool / plan.run).iterdir()] == [f"{step}.jsonl"]
    assert [path.name for path in (folder.path / "progress").iterdir()] == [f"{step}.json"]
    assert list((folder.path / "errors").iterdir()) == list((folder.path / "work").iterdir()) == []
    assert "epoch 3/3" in folder.log(step).read_text()
    assert "epoch " not in folder.log(f"{step}.member-1").read_text()
    assert list(home.store.keys("checkpoints/")) == []


@pytest.mark.slow
def test_two_processes_learn_what_one_does_though_one_is_killed(home: Home) -> None:
    plan = plan_of(home, 2, 40)
    blow = Blow(home, plan, 1, signal.SIGKILL)
    told = Told(blow)
    together = trained(home, plan, told)
    assert blow.struck is not None, "the training ended before a member could be killed"
    assert not blow.struck.is_running()
    assert told.words == ["member 1 of 2 was killed by signal 9"]
    assert together["resumed"].startswith("epoch ")
    alone = trained(home, plan_of(home, 1, 40))
    assert together["curve"] == pytest.approx(alone["curve"], abs=1e-4)
    assert together["metrics"] == pytest.approx(alone["metrics"], abs=1e-4)
    assert list((home.folder_of(plan.run).path / "errors").iterdir()) == []


@pytest.mark.slow
def test_a_member_that_stops_again_and_again_is_named(home: Home) -> None:
    plan = plan_of(home, 2, 400, member_timeout="25s")
    blows = [Blow(home, plan, 1, signal.SIGSTOP, 1) for _ in range(3)]

    def on_poll() -> None:
        struck = [blow.struck for blow in blows if blow.struck is not None]
        if len(struck) < len(blows) and not any(process.is_running() for process in struck):
            blows[len(struck)]()

    with pytest.raises(StepError, match=r"member 1 of 2 has been silent for \d+ s: its process is stopped"):
        trained(home, plan, Told(on_poll))
    assert member(home, plan, 0) is None and member(home, plan, 1) is None


@pytest.mark.slow
def test_members_that_are_cancelled_keep_their_state(home: Home) -> None:
    plan = plan_of(home, 2, 41, every="1h")
    progress = home.folder_of(plan.run).path / "progress" / f"{plan.steps[1].id}.json"

    def on_poll() -> None:
        if progress.exists() and json.loads(progress.read_text())["epoch"] >= 2:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        trained(home, plan, Told(on_poll))
    assert member(home, plan, 0) is None and member(home, plan, 1) is None
    assert trained(home, plan)["resumed"].startswith("epoch ")


@pytest.mark.slow
def test_a_gpu_that_no_member_has_is_told_before_the_first_batch(home: Home) -> None:
    with pytest.raises(StepError, match=r"resources.gpus is 1 and JAX sees 0 GPUs"):
        trained(home, plan_of(home, 2, 3, gpus=1))


def test_an_executor_that_starts_one_process_says_so(home: Home) -> None:
    with pytest.raises(
        StepError, match=r"resources.nodes is 2 and this process is one of 1; expected an exec"
    ):
        trained(home, plan_of(home, 2, 1), executor="inline")


@pytest.mark.parametrize(
    ("resources", "training", "words"),
    [
        ({"nodes": 2}, {}, r"nodes is 2, and training.backend is 'tensorflow'.* set training.backend: jax"),
        ({"gpus": 2}, {"backend": "torch"}, r"gpus is 2 .*'torch'; expected one device with this backend"),
        (
            {"nodes": 3},
            {"backend": "jax"},
            r"batch_size is 32; expected a multiple of 3, because the devices share.*batch_size: 33",
        ),
        ({"nodes": 2, "gpus": 8}, {"backend": "jax", "batch_size": 24}, r"multiple of 16, .*batch_size: 32"),
    ],
)
def test_what_devices_can_not_share_is_refused_at_once(
    resources: dict[str, Any], training: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExperimentError) as refused:
        validate({**DOCUMENT, "training": training, "resources": resources}, "here")
    assert re.search(words, str(refused.value))
