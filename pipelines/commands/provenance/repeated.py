"""Runs steps of an earlier run once more, each from exactly what it took then, in a home that is thrown away."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidegate.infra.system.files import read_json
from tidegate.models.user_code.code_folder import ENVIRONMENTS
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.executors.base import WORKER, StepCall, step_environment
from tidegate.pipelines.state.finished_steps import new_outputs, refs_in
from tidegate.pipelines.state.home import Home, StepRecord
from tidegate.pipelines.step_types.train import TrainInputs

SHARED = (ENVIRONMENTS, "secrets")  # of the home, which the user's code needs


def call_of(home: Home, run: str, step: StepRecord) -> StepCall:
    """What a step was called with, in this run or in the one whose result it took over.

    Raises:
        UsageError: it is not known any more.
    """
    manifest = home.store.read(f"steps/{step.key}.json")
    made_by = [json.loads(manifest[0])["run"]] if manifest else []
    for known in (run, *made_by):
        path = home.folder_of(known).call(step.id)
        if path.is_file():
            return StepCall.model_validate_json(path.read_bytes())
    raise UsageError(
        f"run {run}: what step {step.id} took is not known here any more; expected "
        f"{home.folder_of(run).call(step.id)}; reproduce it in the home that it was trained in"
    )


def check_repeatable(call: StepCall) -> None:
    """Refuse a training that this machine cannot repeat from the call alone; raises UsageError."""
    inputs = call.inputs
    if not isinstance(inputs, TrainInputs):
        return
    if call.members > 1:
        raise UsageError(
            f"step {call.id} was trained on {call.members} nodes; expected one; submit the experiment again"
        )
    if inputs.start is not None and not inputs.start.foreign:
        raise UsageError(
            f"step {call.id} started from run {inputs.start.run}; expected a training that starts anew; "
            f"reproduce that one: `tidegate reproduce {inputs.start.run}`"
        )


@contextmanager
def throwaway_home(home: Home) -> Iterator[Home]:
    """An empty home with the packages and secrets of this one; it is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="tidegate-reproduce-") as folder:
        made = Home(Path(folder) / "home")
        for name in SHARED:
            if (home.path / name).is_dir():
                (made.path / name).symlink_to(home.path / name)
        yield made


def repeat(home: Home, scratch: Home, call: StepCall) -> dict[str, Any]:
    """Run a step in the throwaway home; return its outputs.

    Args:
        home: which has the files that it takes.
        scratch: where it runs.
        call: of then.

    Raises:
        PipelineError: it failed; with its message.
    """
    folder = scratch.folder_of(Path(call.run).name)
    folder.create()
    again = call.model_copy(update={"run": folder.path.as_uri(), "log": folder.log(call.id)})
    document = again.model_dump_json()
    for ref in refs_in(json.loads(document)):
        scratch.store.put(home.store.fetch(ref), ref.name)
    folder.call(call.id).write_text(document)
    argv = [sys.executable, "-P", "-m", WORKER, "--run", again.run, "--step", call.id]
    with again.log.open("ab") as log:
        # It reads from a pipe of ours, and so it ends when we do.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=step_environment(),
            start_new_session=True,
        )
        code = process.wait()
    outputs = new_outputs(scratch.store, call.key)
    if code or outputs is None:
        error = read_json(folder.error(call.id))
        said = error["message"] if error else f"it ended with exit code {code}"
        raise PipelineError(f"step {call.id} cannot be repeated: {said}")
    return outputs
