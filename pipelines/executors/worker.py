"""The one entry every executor starts: inputs -> step -> outputs.

Exit code 0: the outputs are in the store. 1: the step failed; its words are in the run's `errors/`. 75: another process
of the same step was lost. In a pod the run's folder is a copy: what the step needs of it is brought from the store
first, and what it leaves is brought there. A step of several processes is this entry several times; the first one's
outputs count.
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
from urllib.parse import unquote, urlparse

from tidegate.infra.errors import ConflictError, InfraError
from tidegate.infra.system.files import write_atomic
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
from tidegate.pipelines.steps import follow, load_step
from tidegate.pipelines.steps.context import StepContext

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
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.executors.worker", description=__doc__)
    parser.add_argument(
        "--run", required=True, help="URI of the run, file:///HOME/runs/NAME or s3://…/runs/NAME"
    )
    parser.add_argument("--step", required=True, help="the step's id in the plan")
    arguments = parser.parse_args(argv)
    member = current_member()
    name = member_name(arguments.step, member.rank)
    with _opened(arguments.run, arguments.step, name) as (home, folder, push):
        last_words = _LastWords(folder, name, push)
        try:
            call = StepCall.model_validate_json(folder.call(arguments.step).read_bytes())
            _run(home, folder, call, member, last_words)
        except Exception as error:
            last_words(error)
            return EXIT_MEMBER_LOST if isinstance(error, MemberLostError) else 1
    return 0


@contextlib.contextmanager
def _opened(uri: str, step: str, name: str) -> Iterator[tuple[Home, RunFolder, Callable[[], None]]]:
    """The run's folder: here, or copied from and to the store; and what brings there what was left so far.

    Args:
        uri: of the run.
        step: the step's id.
        name: what this process's log and error are called.
    """
    path = Path(unquote(urlparse(uri).path))
    if urlparse(uri).scheme == "file":
        home = home_at(path.parent.parent)
        yield home, home.folder_of(path.name), lambda: None
        return
    home = home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True)
    folder, mirror = home.folder_of(path.name), Mirror(home, path.name)
    folder.create()
    # An earlier try's events: this one writes none of them again.
    for document in (f"calls/{step}.json", f"spool/{name}.jsonl", f"logs/{name}.log"):
        mirror.pull(document)
    kept = [f"{part}/{name}.{kind}" for part, kind in LEFT]
    with _leaving(mirror, kept), mirror.pushing(*kept), tee(folder.log(name)):
        yield home, folder, lambda: mirror.push_all(*kept)


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


def _run(
    home: Home, folder: RunFolder, call: StepCall, member: Member, last_words: Callable[[Exception], None]
) -> None:
    began = time.time()
    run = load_step(call.step)
    work = Path(tempfile.mkdtemp(prefix=f"{call.id}-", dir=folder.path / "work"))
    try:
        context = StepContext(home, folder, call.id, call.key, work, last_words)
        if member.rank:
            follow(call.inputs, context)
        else:
            _keep(home, call, run(call.inputs, context), began)
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


class _LastWords:
    """Leaves an error for the driver, from any thread; the first error is the cause of all others.

    Args:
        folder: the run's.
        name: what the error is called.
        push: brings it to the store.
    """

    def __init__(self, folder: RunFolder, name: str, push: Callable[[], None]) -> None:
        self._folder, self._name, self._push = folder, name, push
        self._lock, self._said = threading.Lock(), False

    def __call__(self, error: Exception) -> None:
        with self._lock:
            if not self._said:
                self._said = True
                _leave_error(self._folder, self._name, error)
                with contextlib.suppress(InfraError):
                    self._push()


def _leave_error(folder: RunFolder, step: str, error: Exception) -> None:
    trace = "".join(traceback.format_exception(error))
    print(trace, file=sys.stderr)
    document = {"message": error_message(error), "trace": trace, "kind": type(error).__name__}
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
    code = main()
    # Taking TensorFlow down takes 0.7 s and is of no use; JAX would wait for the others, which may be gone.
    sys.stdout.flush()
    os._exit(code)
