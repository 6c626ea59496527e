"""Every executor runs the same cases; a new one is picked up from the table."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.executors import EXECUTORS, make_executor
from tidegate.pipelines.executors.base import Handle, StepCall
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.state.finished_steps import find_outputs
from tidegate.pipelines.state.home import Home, RunFolder
from tidegate.pipelines.step_types.prepare import PrepareInputs


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def call_of(home: Home, data: dict[str, Any], key: str = "k1") -> StepCall:
    folder = RunFolder(home.runs_path / "some-run")
    folder.create()
    whole = {
        "source": None,
        "sample_rate": None,
        "format": None,
        "inputs": None,
        "target": None,
        "task": None,
        "dataset": None,
    }
    split = {"split": {"validation": 0.1, "test": 0.2, "seed": 7}}
    call = StepCall(
        run=folder.path.as_uri(),
        id=f"prepare-{key}",
        step="prepare",
        key=key,
        inputs=PrepareInputs(data=Data.model_validate({**whole, **split, **data}), loss=None),
        log=folder.log(f"prepare-{key}"),
    )
    folder.call(call.id).write_text(call.model_dump_json())
    return call


def ended(handle: Handle) -> int:
    deadline = time.monotonic() + 60
    while (code := handle.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return code


@pytest.mark.parametrize("name", EXECUTORS)
class TestExecutor:
    def test_a_step_leaves_its_outputs_and_its_words(self, name: str, home: Home) -> None:
        call = call_of(home, {"dataset": "wine"})
        handle = make_executor(name).start(call)
        assert ended(handle) == 0
        outputs = find_outputs(home.store, call.key)
        assert outputs is not None
        assert sum(outputs["summary"]["rows"].values()) == 178
        assert "fingerprint" in handle.logs()

    def test_a_failing_step_ends_with_one_and_says_why(self, name: str, home: Home) -> None:
        call = call_of(home, {"source": str(home.path / "nothing.csv"), "target": ["y"]})
        assert ended(make_executor(name).start(call)) == 1
        error = json.loads(RunFolder(home.runs_path / "some-run").error(call.id).read_text())
        assert "nothing.csv" in error["message"]
        assert "Traceback" in error["trace"]
        assert find_outputs(home.store, call.key) is None

    def test_nothing_is_left_of_a_step_but_what_it_put_into_the_store(self, name: str, home: Home) -> None:
        call = call_of(home, {"dataset": "wine"})
        ended(make_executor(name).start(call))
        assert list((home.runs_path / "some-run" / "work").iterdir()) == []

    def test_cancelling_ends_a_step_whether_it_runs_or_not(self, name: str, home: Home) -> None:
        handle = make_executor(name).start(call_of(home, {"dataset": "wine"}))
        handle.cancel()
        assert ended(handle) is not None
        handle.cancel()
