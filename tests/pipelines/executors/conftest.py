"""A home with a prepared run, and its steps started again and again by an executor."""

import io
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from tidegate.infra.store import Ref
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.local import LocalExecutor, LocalHandle
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather, keep_project_of
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.finished_steps import find_outputs
from tidegate.pipelines.state.home import Home, StepRecord

DOCUMENT: dict[str, Any] = {
    "name": "forked",
    "data": {"dataset": "digits"},
    "model": {"family": "mlp", "hidden": [16], "dropout": 0.2},
    "training": {"epochs": 2, "batch_size": 64},
    "search": {"method": "grid", "space": {"training.seed": {"choices": [1, 2]}}},
}


class Quiet:
    """Listens to a run, and says nothing."""

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None: ...

    def on_retry(self, step_id: str, signal: int) -> None: ...

    def on_notice(self, step_id: str, text: str) -> None: ...

    def on_poll(self) -> None: ...


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, StepCall, StepCall]:
    """A home, and the calls of its run's `prepare` and of its first trial, which are done."""
    home = Home(tmp_path_factory.mktemp("forked") / "home")
    prepare, train = calls(home, 2)
    return home, prepare, train


def calls(home: Home, number: int, document: dict[str, Any] = DOCUMENT) -> list[StepCall]:
    """Do the first steps of the experiment; their calls."""
    experiment = validate(document, "here")
    plan = make_plan(experiment, gather(experiment, home))
    folder = home.folder_of(plan.run)
    folder.create()
    keep_project_of(plan, home)
    steps = plan.steps[:number]
    run_plan(replace(plan, steps=steps), LocalExecutor(), home.store, folder, Quiet())
    return [StepCall.model_validate_json(folder.call(step.id).read_bytes()) for step in steps]


def again(home: Home, call: StepCall, key: str) -> StepCall:
    """The same step under a key of its own, so that it is done once more."""
    new = call.model_copy(
        update={"id": f"{call.step}-{key}", "key": key, "log": call.log.with_name(f"{key}.log")}
    )
    folder = home.folder_of(Path(call.run).name)
    folder.call(new.id).write_text(new.model_dump_json())
    return new


def ended(handle: LocalHandle) -> int:
    """The exit code, once there is one."""
    deadline = time.monotonic() + 120
    while (code := handle.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def start(executor: LocalExecutor, call: StepCall) -> LocalHandle:
    """Start a step; wait until it has a process."""
    handle = executor.start(call)
    assert isinstance(handle, LocalHandle)
    while handle.process.pid is None:
        assert handle.poll() is None
        time.sleep(0.01)
    return handle


def is_forked(handle: LocalHandle) -> bool:
    return psutil.Process(handle.process.pid).ppid() != os.getpid()


def weights(home: Home, key: str) -> list[Any]:
    """Every array of a trained model's file."""
    outputs = find_outputs(home.store, key)
    assert outputs is not None
    with zipfile.ZipFile(home.store.fetch(Ref.model_validate(outputs["keras"]))) as archive:
        found: list[Any] = []
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(
                lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
            )
    return found
