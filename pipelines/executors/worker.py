"""The entry point that every executor starts: inputs -> step -> outputs.

Exit code 0: the outputs are in the store. 1: the step failed; its error is in the run's `errors/`. 75: another process
of the same step was lost. In a pod the run's folder is a copy: the files that the step needs are first copied from the
store, and the files that it writes are copied back. A step of several processes starts this entry point once per
process; the first process writes the outputs.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlparse

from tidegate.infra.errors import ConflictError, InfraError
from tidegate.infra.system.files import write_atomic
from tidegate.infra.system.strict_json import strict_json
from tidegate.models.distributed.process_group import EXIT_MEMBER_LOST, Member, current_member
from tidegate.models.errors import MemberLostError
from tidegate.pipelines.errors import error_message
from tidegate.pipelines.executors.base import StepCall, member_name
from tidegate.pipelines.executors.tee import tee
from tidegate.pipelines.state.checkpoints import clear
from tidegate.pipelines.state.finished_steps import RELEASING, find_outputs
from tidegate.pipelines.state.home import Home, RunFolder, home_at
from tidegate.pipelines.state.mirror import Mirror
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.steps import load_step, run_follower
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.project import enter_project

# Files that a step writes for its driver: folder and suffix.
STEP_FILES = (("logs", "log"), ("progress", "json"), ("spool", "jsonl"), ("errors", "json"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step.

    Args:
        argv: `--run URI --step ID`; default: the arguments of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.executors.worker", description=__doc__)
    parser.add_argument(
        "--run", required=True, help="URI of the run, file:///HOME/runs/NAME or s3://…/runs/NAME"
    )
    parser.add_argument("--step", required=True, help="the step's id in the plan")
    arguments = parser.parse_args(argv)
    member = current_member()
    name = member_name(arguments.step, member.rank)
    with _open_run(arguments.run, arguments.step, name) as (home, folder, push):
        report_error = _ErrorReport(folder, name, push)
        try:
            call = StepCall.model_validate_json(folder.call(arguments.step).read_bytes())
            _run(home, folder, call, member, report_error)
        except Exception as error:
            report_error(error)
            return EXIT_MEMBER_LOST if isinstance(error, MemberLostError) else 1
    return 0


@contextlib.contextmanager
def _open_run(uri: str, step: str, name: str) -> Iterator[tuple[Home, RunFolder, Callable[[], None]]]:
    """Open the run's folder, or in a pod a copy of it; also yield a function that pushes the step's files to the store.

    Args:
        uri: of the run.
        step: the step's id.
        name: of this process's log and error file.
    """
    path = Path(unquote(urlparse(uri).path))
    if urlparse(uri).scheme == "file":
        home = home_at(path.parent.parent)
        yield home, home.folder_of(path.name), lambda: None
        return
    home = home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True)
    folder, mirror = home.folder_of(path.name), Mirror(home, path.name)
    folder.create()
    # With the events of an earlier attempt here, this one does not write them again.
    for document in (f"calls/{step}.json", f"spool/{name}.jsonl", f"logs/{name}.log"):
        mirror.pull(document)
    kept = [f"{part}/{name}.{kind}" for part, kind in STEP_FILES]
    with _push_on_sigterm(mirror, kept), mirror.pushing(*kept), tee(folder.log(name)):
        yield home, folder, lambda: mirror.push_all(*kept)


@contextlib.contextmanager
def _push_on_sigterm(mirror: Mirror, kept: Sequence[str]) -> Iterator[None]:
    """On SIGTERM, push the files written so far and exit; without a handler, PID 1 of a pod would ignore SIGTERM."""

    def leave(*_: object) -> None:
        with contextlib.suppress(InfraError):
            mirror.push_all(*kept)
        os._exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    home: Home, folder: RunFolder, call: StepCall, member: Member, report_error: Callable[[Exception], None]
) -> None:
    began, started = time.time(), time.monotonic()
    run = load_step(call.step)
    work = Path(tempfile.mkdtemp(prefix=f"{call.id}-", dir=folder.path / "work"))
    try:
        enter_project(call.inputs, home, work)
        context = StepContext(home, folder, call.id, call.key, work, report_error)
        if member.rank:
            run_follower(call.inputs, context)
        else:
            outputs = run(call.inputs, context)
            _write_manifest(home, call, outputs, began, time.monotonic() - started)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_manifest(home: Home, call: StepCall, outputs: StepPart, began: float, seconds: float) -> None:
    """Write the manifest, last of all: the step is finished once it exists, and not before."""
    manifest = {
        "step": call.step,
        "run": Path(urlparse(call.run).path).name,
        "outputs": outputs.model_dump(mode="json"),
        "began": began,
        "seconds": round(seconds, 3),
    }
    key = f"steps/{call.key}.json"
    before = home.store.read(key)
    # A release is only valid at its time, and a result without its files is useless: both are replaced.
    stale = before and (call.step in RELEASING or find_outputs(home.store, call.key) is None)
    try:
        home.store.write(key, strict_json(manifest).encode(), before[1] if before and stale else None)
    except ConflictError:
        print(f"{call.id}: another run finished the same step first; its result is used")
    if call.step == "train":
        with contextlib.suppress(InfraError):  # then gc clears them
            clear(home.store, call.key)


class _ErrorReport:
    """Writes an error for the driver, from any thread. Only the first error is written: it causes all others.

    Args:
        folder: the run's.
        name: of the error file.
        push: copies it to the store.
    """

    def __init__(self, folder: RunFolder, name: str, push: Callable[[], None]) -> None:
        self._folder, self._name, self._push = folder, name, push
        self._lock, self._reported = threading.Lock(), False

    def __call__(self, error: Exception) -> None:
        with self._lock:
            if not self._reported:
                self._reported = True
                _write_error(self._folder, self._name, error)
                with contextlib.suppress(InfraError):
                    self._push()


def _write_error(folder: RunFolder, step: str, error: Exception) -> None:
    trace = "".join(traceback.format_exception(error))
    print(trace, file=sys.stderr)
    document = {"message": error_message(error), "trace": trace, "kind": type(error).__name__}
    try:
        write_atomic(folder.error(step), json.dumps(document).encode())
    except OSError as failed:
        print(f"the error could not be written: {failed}", file=sys.stderr)


def _end_with_driver() -> None:
    """A local driver holds the other end of our standard input: when it dies, for any reason, this process ends too."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait_and_die, daemon=True).start()


def _wait_and_die() -> None:
    os.read(0, 1)
    if os.getpgrp() == os.getpid():  # with our child processes, but not an endpoint's server
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def run_process(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one step as all that this process does, and end it.

    Args:
        argv: see `main`.
    """
    _end_with_driver()
    code = main(argv)
    # A regular exit of TensorFlow takes 0.7 s and has no use; JAX would wait for other processes, which may be gone.
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    run_process()
