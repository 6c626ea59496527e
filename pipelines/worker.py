"""The one entry every executor starts: inputs -> step -> outputs.

Exit code 0: the outputs are in the store. 1: the step failed; its words are in the run's `errors/`. In a pod the run's
folder is a copy: what the step needs of it is brought from the store first, and what it leaves is brought there.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from infra.errors import ConflictError, InfraError
from infra.files import write_atomic
from pipelines.checkpoints import clear
from pipelines.errors import in_words
from pipelines.executors.base import StepCall
from pipelines.home import Home, RunFolder, home_at
from pipelines.mirror import Mirror
from pipelines.run import RELEASING, find_outputs
from pipelines.steps import StepContext, StepPart, load_step
from pipelines.tee import tee

LEFT = (
    ("logs", "log"),
    ("progress", "json"),
    ("spool", "jsonl"),
    ("errors", "json"),
)  # by a step, for its driver


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step.

    Args:
        argv: `--run URI --step ID`; the process's own when None.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="pipelines.worker", description=__doc__)
    parser.add_argument(
        "--run", required=True, help="URI of the run, file:///HOME/runs/NAME or s3://…/runs/NAME"
    )
    parser.add_argument("--step", required=True, help="the step's id in the plan")
    arguments = parser.parse_args(argv)
    with _opened(arguments.run, arguments.step) as (home, folder):
        try:
            _run(home, folder, StepCall.model_validate_json(folder.call(arguments.step).read_bytes()))
        except Exception as error:
            _leave_error(folder, arguments.step, error)
            return 1
    return 0


@contextlib.contextmanager
def _opened(uri: str, step: str) -> Iterator[tuple[Home, RunFolder]]:
    """The run's folder: here, or copied from and to the store."""
    path = Path(unquote(urlparse(uri).path))
    if urlparse(uri).scheme == "file":
        home = home_at(path.parent.parent)
        yield home, home.folder_of(path.name)
        return
    home = home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True)
    folder, mirror = home.folder_of(path.name), Mirror(home, path.name)
    folder.create()
    # An earlier try's events: this one writes none of them again.
    for name in (f"calls/{step}.json", f"spool/{step}.jsonl", f"logs/{step}.log"):
        mirror.pull(name)
    kept = [f"{part}/{step}.{kind}" for part, kind in LEFT]
    with _leaving(mirror, kept), mirror.pushing(*kept), tee(folder.log(step)):
        yield home, folder


@contextlib.contextmanager
def _leaving(mirror: Mirror, kept: Sequence[str]) -> Iterator[None]:
    """A pod that is told to go keeps what it has so far; the first process of a pod would else ignore SIGTERM."""

    def leave(*_: object) -> None:
        with contextlib.suppress(InfraError):
            mirror.push_all(*kept)
        os._exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(home: Home, folder: RunFolder, call: StepCall) -> None:
    began = time.time()
    inputs_type, run = load_step(call.step)
    work = Path(tempfile.mkdtemp(prefix=f"{call.id}-", dir=folder.path / "work"))
    try:
        context = StepContext(home, folder, call.id, call.key, work)
        outputs = run(inputs_type.model_validate(call.inputs), context)
        _keep(home, call, outputs, began)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _keep(home: Home, call: StepCall, outputs: StepPart, began: float) -> None:
    """Write the manifest last: a step is finished when it is there, and not before."""
    manifest = {
        "step": call.step,
        "run": Path(urlparse(call.run).path).name,
        "outputs": outputs.model_dump(mode="json"),
        "began": began,
        "seconds": round(time.time() - began, 3),
    }
    key = f"steps/{call.key}.json"
    before = home.store.read(key)
    # A release is of the moment, and a result whose files are gone is none: either is replaced.
    stale = before and (call.step in RELEASING or find_outputs(home.store, call.key) is None)
    try:
        home.store.write(key, json.dumps(manifest).encode(), before[1] if before and stale else None)
    except ConflictError:
        print(f"{call.id}: another run finished the same step first; its result is used")
    if call.step == "train":
        with contextlib.suppress(InfraError):  # gc does it, then
            clear(home.store, call.key)


def _leave_error(folder: RunFolder, step: str, error: Exception) -> None:
    trace = traceback.format_exc()
    print(trace, file=sys.stderr)
    document = {"message": in_words(error), "trace": trace, "kind": type(error).__name__}
    try:
        write_atomic(folder.error(step), json.dumps(document).encode())
    except OSError as failed:
        print(f"could not note the error: {failed}", file=sys.stderr)


def _end_with_driver() -> None:
    """A local driver holds the other end of our standard input: when it dies, however it dies, we go too."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait_and_die, daemon=True).start()


def _wait_and_die() -> None:
    os.read(0, 1)
    if os.getpgrp() == os.getpid():  # and with us what we started, but for an endpoint's server
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    _end_with_driver()
    sys.exit(main())
