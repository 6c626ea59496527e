"""Trials that share a pod: each is a step of its own, and has the bits that it has in a process of its own."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.bucket_servers import BucketServer, S3Server
from tests.pipelines.executors.conftest import DOCUMENT, Quiet, weights
from tests.pipelines.executors.pod_cluster import PodCluster
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.executors.base import Handle, StepCall
from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.kubernetes import KubernetesExecutor
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.executors.manifests import Packing
from tidegate.pipelines.executors.packing.documents import End, Turn
from tidegate.pipelines.executors.packing.pool import LOOK_S, Pack, PackPool
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home, StepRecord
from tidegate.pipelines.state.targets import Target

SEEDS = [1, 2, 3]


class Told(Quiet):
    """Keeps what a run says, and does something at each poll."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.steps: list[StepRecord] = []
        self.words: list[str] = []
        self._act = act

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        del outputs
        self.steps.append(record)

    def on_retry(self, step_id: str, signal: int) -> None:
        self.words.append(f"{step_id} killed by {signal}")

    def on_notice(self, step_id: str, text: str) -> None:
        self.words.append(f"{step_id} {text}")

    def on_poll(self) -> None:
        self._act()

    def ends(self) -> dict[str, str]:
        """The last status of each trial, by its number."""
        return {step.id.split("-")[1]: step.status for step in self.steps if step.step == "train"}


class KilledDriver(BaseException):
    """Ends a driver as a kill does."""


class LeftHandle:
    """A step that nobody cancels."""

    def __init__(self, handle: Handle) -> None:
        self.poll, self.logs, self.notices = handle.poll, handle.logs, handle.notices

    def cancel(self) -> None:
        """Its driver was killed."""


class KilledExecutor(KubernetesExecutor):
    """Of a driver that is killed, so that its steps go on."""

    def start(self, call: StepCall) -> Handle:
        """Start the step."""
        return LeftHandle(super().start(call))


class Packed:
    """A run with a home, a store and a cluster."""

    def __init__(self, folder: Path, server: BucketServer, **changed: Any) -> None:
        url = server.url(folder.name)
        store = {"url": url, "endpoint": server.endpoint, "credentials": "identity"}
        target = Target.model_validate({"name": "here", "store": store, "mlflow": "http://none"})
        self.home = Home(folder / "home", target)
        (folder / "pods").mkdir()
        self.cluster = PodCluster(folder / "pods", url, **server.environment())
        self.home.__dict__["cluster"] = self.cluster
        self.plan = plan_of(self.home, **changed)
        self.folder = self.home.folder_of(self.plan.run)
        self.folder.create()

    def drive(
        self,
        pack: Packing = 3,
        told: Told | None = None,
        executor: type[KubernetesExecutor] = KubernetesExecutor,
    ) -> Told:
        """Drive prepare and the trials to their end."""
        told = told or Told()
        where = executor(self.home, self.plan.run, self.plan.experiment.resources, None, pack)
        try:
            run_plan(self.plan, where, self.home.store, self.folder, told)
        finally:
            where.watcher.stop()
        return told

    def packs(self) -> list[str]:
        """The packed pods that there were."""
        return sorted(pod for pod in self.cluster.processes if pod.startswith("pack-"))

    def pack_log(self, number: int = 0) -> str:
        return self.cluster.logs(self.packs()[number], tail=1000)


def plan_of(home: Home, **changed: Any) -> Plan:
    search = {"method": "grid", "space": {"training.seed": {"choices": SEEDS}}, "pruning": None}
    experiment = validate({**DOCUMENT, "search": search, **changed}, "here")
    plan = make_plan(experiment, gather(experiment, home))
    return replace(plan, steps=tuple(step for step in plan.steps if step.step in ("prepare", "train")))


@pytest.fixture
def packed(tmp_path: Path, s3: S3Server) -> Iterator[Callable[..., Packed]]:
    made: list[Packed] = []

    def make(**changed: Any) -> Packed:
        made.append(Packed(tmp_path, s3, **changed))
        return made[-1]

    yield make
    for one in made:
        one.cluster.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The weights of each trial from processes of this machine, by the trial's key."""
    home = Home(tmp_path_factory.mktemp("alone") / "home")
    plan = plan_of(home)
    folder = home.folder_of(plan.run)
    folder.create()
    run_plan(plan, LocalExecutor(), home.store, folder, Quiet())
    return {step.key: weights(home, step.key) for step in plan.of("train")}


def equal(home: Home, expected: dict[str, list[Any]]) -> bool:
    found = {key: weights(home, key) for key in expected}
    return all(
        (one == other).all() for key in expected for one, other in zip(found[key], expected[key], strict=True)
    )


@pytest.mark.parametrize(
    "fork", [pytest.param("", id="forked"), pytest.param("0", id="fresh", marks=pytest.mark.slow)]
)
def test_trials_of_one_pod_have_the_bits_of_their_own_processes(
    fork: str, packed: Callable[..., Packed], alone: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, fork)
    run = packed()
    told = run.drive()
    assert told.ends() == {"0": "done", "1": "done", "2": "done"}
    assert len(run.packs()) == 1
    assert equal(run.home, alone)
    for step in run.plan.of("train"):
        log = run.folder.log(step.id).read_text()
        assert "epoch 2/2" in log
        assert f"trial {step.id} begins" in run.pack_log()
    assert len(run.cluster.processes) == 2  # prepare's pod, and that of all trials


def test_a_trial_that_fails_alone_fails_alone(packed: Callable[..., Packed]) -> None:
    space = {"model.hidden": {"choices": [[16], [-5], [8]]}}
    run = packed(search={"method": "grid", "space": space, "pruning": None})
    told = run.drive()
    assert told.ends() == {"0": "done", "1": "failed", "2": "done"}
    assert len(run.packs()) == 1
    assert "-5" in run.folder.error(run.plan.of("train")[1].id).read_text()


def test_a_killed_pod_goes_on_with_the_trial_that_it_had(
    packed: Callable[..., Packed], alone: dict[str, list[Any]]
) -> None:
    run, killed = packed(), []

    def kill() -> None:
        """As soon as the second trial has begun."""
        if not killed and run.packs() and "number 2 of this pod" in run.pack_log():
            killed.append(run.packs()[0])
            run.cluster.kill(killed[0])

    told = run.drive(told=Told(kill))
    assert told.ends() == {"0": "done", "1": "done", "2": "done"}
    assert [pod.rpartition("-")[2] for pod in run.packs()] == ["0", "1"]  # the Job's second pod
    assert f"trial {run.plan.of('train')[0].id} begins" not in run.pack_log(1)  # it is not trained again
    assert any("it starts again" in word for word in told.words)
    assert equal(run.home, alone)


def test_a_trial_whose_process_is_killed_starts_again_in_the_pod(
    packed: Callable[..., Packed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")  # the pod has a fork server of its own, whose children are found below
    run, killed = packed(), []

    def kill() -> None:
        if killed or not run.packs():
            return
        for child in psutil.Process(run.cluster.processes[run.packs()[0]].pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
                if f"--step {run.plan.of('train')[1].id}" in " ".join(child.cmdline()):
                    child.kill()
                    killed.append(child.pid)

    told = run.drive(told=Told(kill), pack="auto")
    assert told.ends() == {"0": "done", "1": "done", "2": "done"}
    assert told.words == [f"{run.plan.of('train')[1].id} killed by 9"]
    assert len(run.packs()) == 1


def test_another_driver_adopts_the_pod_and_nothing_is_trained_twice(packed: Callable[..., Packed]) -> None:
    run = packed()

    def leave() -> None:
        """As a driver that is killed: its pods go on."""
        if run.packs() and "number 2 of this pod" in run.pack_log():
            raise KilledDriver

    with pytest.raises(KilledDriver):
        run.drive(told=Told(leave), executor=KilledExecutor)
    told = run.drive()
    ends = told.ends()
    assert ends["0"] == "cached"
    assert set(ends.values()) <= {"cached", "done"}
    assert any("adopted" in word for word in told.words) == (
        ends["1"] == "done"
    )  # it may have ended meanwhile
    assert len(run.packs()) == 1
    assert run.pack_log().count("begins") == 3


@pytest.mark.parametrize(
    ("ago", "code", "quicker"),
    [(1.0, 0, True), (1.0, 1, False), (None, 0, False)],
    ids=["a short trial", "one that failed at once", "one that an earlier driver gave"],
)
def test_pods_are_looked_at_as_often_as_good_trials_are_short(
    ago: float | None, code: int, quicker: bool, packed: Callable[..., Packed]
) -> None:
    run = packed()
    executor = KubernetesExecutor(run.home, run.plan.run, run.plan.experiment.resources, None, 3)
    pool, given = PackPool(executor, 3), None if ago is None else time.monotonic() - ago
    pack = Pack("pack-0", executor.state_of("job", "pack-0", "uid"), Turn(number=0, step="a"), given)
    executor.mirror.write(End("pack-0", 0, code, True).name, b"{}")
    pool.look(at_once=True)
    assert pool.take_end(pack) is not None
    assert (pool.look_s < LOOK_S) == quicker
    executor.watcher.stop()
