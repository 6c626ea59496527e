"""Steps that are forked from a process which has imported TensorFlow: equal to fresh ones, and as easy to end."""

import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tidegate.pipelines.executors.base import WORKER, StepCall, step_arguments
from tidegate.pipelines.executors.forking.imports import STEPS, TRAIN, Imports, Kind
from tidegate.pipelines.executors.forking.kinds import kind_of
from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import Trained

from .conftest import DOCUMENT, again, calls, ended, is_forked, start, weights

# TensorFlow makes its threads at the first operation: a process that has imported this can not be forked any more.
OPERATION = """
import keras
import tensorflow as tf

SCALE = tf.reduce_sum(tf.constant([0.5, 0.5]))
keras.random.normal((2, 2))


def build(inputs, outputs):
    x = keras.layers.Flatten()(next(iter(inputs.values())))
    x = keras.layers.Dense(8, activation="relu")(x * float(SCALE))
    return keras.Model(inputs, outputs.layer(x))
"""


def test_a_forked_training_has_the_bits_of_a_fresh_process(
    prepared: tuple[Home, StepCall, StepCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _, train = prepared
    executor = LocalExecutor()
    handles = [start(executor, again(home, train, f"forked-{number}")) for number in (1, 2)]
    assert [is_forked(handle) for handle in handles] == [True, True]
    shown = psutil.Process(handles[0].process.pid).cmdline()
    assert shown == [sys.executable, "-P", "-m", WORKER, *step_arguments(again(home, train, "forked-1"))]
    assert [ended(handle) for handle in handles] == [0, 0]
    monkeypatch.setenv(VARIABLE, "0")
    fresh = start(LocalExecutor(), again(home, train, "fresh"))
    assert not is_forked(fresh)
    assert ended(fresh) == 0
    expected = weights(home, "fresh")
    assert len(expected) >= 4
    for key in ("forked-1", "forked-2"):
        for mine, other in zip(weights(home, key), expected, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_a_model_file_that_computes_while_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "net.py"
    file.write_text(OPERATION)
    document = {**DOCUMENT, "model": {"file": str(file)}, "training": {"epochs": 1, "batch_size": 64}}
    document["search"] = {"method": "grid", "space": {"training.seed": {"choices": [1]}}}
    home = Home(tmp_path / "home")
    _, train = calls(home, 2, document)
    executor = LocalExecutor()
    forked = [start(executor, again(home, train, f"operation-{number}")) for number in (1, 2)]
    assert [is_forked(handle) for handle in forked] == [True, True]
    assert [ended(handle) for handle in forked] == [0, 0]
    monkeypatch.setenv(VARIABLE, "0")
    fresh = start(LocalExecutor(), again(home, train, "operation-fresh"))
    assert ended(fresh) == 0
    expected = weights(home, "operation-fresh")
    for key in ("operation-1", "operation-2"):
        for mine, other in zip(weights(home, key), expected, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_a_server_that_is_killed_ends_its_steps_and_the_next_one_begins_anew(
    prepared: tuple[Home, StepCall, StepCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, prepare, _ = prepared
    monkeypatch.setenv(VARIABLE, "")
    executor = LocalExecutor()
    handle = start(executor, again(home, prepare, "lost"))
    step = psutil.Process(handle.process.pid)
    step.suspend()
    server = step.parent()
    assert server is not None and server.ppid() == os.getpid()
    server.kill()
    threading.Timer(0.3, step.resume).start()
    assert ended(handle) == -signal.SIGKILL
    assert not step.is_running() or step.status() == psutil.STATUS_ZOMBIE  # until init has seen its end
    found = start(executor, again(home, prepare, "found"))
    assert psutil.Process(found.process.pid).ppid() not in (os.getpid(), server.pid)
    assert ended(found) == 0
    handle.cancel()  # no effect: it is gone


def test_a_step_is_stopped_with_what_it_started(
    prepared: tuple[Home, StepCall, StepCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, prepare, _ = prepared
    handle = start(LocalExecutor(), again(home, prepare, "stopped"))
    step = psutil.Process(handle.process.pid)
    assert is_forked(handle)
    assert os.getpgid(step.pid) == step.pid == os.getsid(step.pid)
    step.suspend()  # it does not hear SIGTERM
    monkeypatch.setattr("tidegate.pipelines.executors.local.GRACE_S", 0.2)
    handle.cancel()
    assert handle.poll() in (-signal.SIGKILL, -signal.SIGTERM)
    assert not step.is_running()


def test_a_variable_that_is_read_at_an_import_needs_a_process_of_its_own(
    prepared: tuple[Home, StepCall, StepCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, prepare, _ = prepared
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    handle = start(LocalExecutor(), again(home, prepare, "other"))
    assert not is_forked(handle)
    assert ended(handle) == 0


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, TRAIN),
        ({"training": {"backend": "jax"}}, None),
        ({"resources": {"gpus": 1}}, None),
        ({"training": {"backend": "jax"}, "resources": {"nodes": 2}}, None),
        (
            {"search": {"method": "grid", "space": {"training.backend": {"choices": ["jax", "tensorflow"]}}}},
            None,
        ),
    ],
)
def test_what_is_forked(tmp_path: Path, changes: dict[str, Any], kind: Kind | None) -> None:
    document = {**DOCUMENT, **changes, "training": {**DOCUMENT["training"], **changes.get("training", {})}}
    experiment = validate(document, "here")
    step = make_plan(experiment, gather(experiment, Home(tmp_path / "home"))).of("train")[0]
    inputs = step.inputs.model_copy(update={"prepared": None})
    call = StepCall.model_construct(
        run="r", id=step.id, step="train", key="k", inputs=inputs, log=tmp_path / "log"
    )
    assert kind_of(call) == kind


@pytest.mark.parametrize(
    ("exported", "backend", "params", "kind"),
    [
        (True, "tensorflow", {}, STEPS),
        (False, "tensorflow", {}, TRAIN),
        (False, "jax", {}, None),
        (False, "tensorflow", {"training.backend": "jax"}, None),
    ],
)
def test_a_selection_that_exports_is_forked_as_a_training(
    tmp_path: Path, exported: bool, backend: str, params: dict[str, Any], kind: Kind | None
) -> None:
    trial = Trained.model_construct(exported=exported, params=params)
    inputs = SelectInputs.model_construct(trials=[trial], training={"backend": backend}, code=None)
    call = StepCall.model_construct(
        run="r", id="select", step="select", key="k", inputs=inputs, log=tmp_path / "log"
    )
    assert kind_of(call) == kind


def test_one_thread_more_and_nothing_is_forked() -> None:
    imports = Imports(STEPS, own_code=False)
    assert imports.refusal(False, []) == ""
    assert "the project's own json has the name of" in imports.refusal(True, ["no_such_module", "json"])
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert re.search(r"has \d+ threads and expected \d+", imports.refusal(False, []))
    finally:
        done.set()
        thread.join()
