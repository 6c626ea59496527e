"""Forty trials over simulated GPU nodes: as many at once as `parallelism` says, and never more."""

import threading
from pathlib import Path

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.testbed import nodes
from tidegate.infra.testbed.host.layout import Layout
from tidegate.pipelines.driver.scheduler import run_plan

from .conftest import Onto
from .simulated import SimulatedExecutor, home_on_testbed, plan_of, recorder

pytestmark = pytest.mark.cluster
TRIALS, PARALLELISM, NODES = 40, 16, 8


def test_trials_spread_and_never_exceed_the_parallelism(
    onto: Onto, api: Cluster, installed: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in onto.env.items():
        monkeypatch.setenv(name, value)
    nodes.resize(installed, NODES)
    plan = plan_of("spread", TRIALS, PARALLELISM)
    home = home_on_testbed(tmp_path / "home")
    listener, executor = (
        recorder(home, plan),
        SimulatedExecutor(home, plan.run, plan.experiment.resources, None),
    )
    seen: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.3):
            jobs = api.list("Job", f"tidegate.dev/run={plan.run}")
            seen.append(sum(1 for job in jobs if job["status"].get("active")))

    counter = threading.Thread(target=count)
    counter.start()
    try:
        run_plan(plan, executor, home.store, listener.folder, listener)
    finally:
        over.set()
        counter.join()
        placed = {pod["spec"]["nodeName"] for pod in api.list("Pod", f"tidegate.dev/run={plan.run}")}
        api.delete_all("Job", f"tidegate.dev/run={plan.run}")
        executor.watcher.stop()
        nodes.resize(installed, 0)
    assert listener.done == TRIALS
    assert 1 < max(seen) <= PARALLELISM
    assert len(placed) > 1
