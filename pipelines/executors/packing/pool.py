"""The packed pods of one run, as its driver sees them: which there are, what each does, and who gets the next trial."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from tidegate.infra.cluster.jobs import PACK, is_finished, run_labels, selector, step_name
from tidegate.infra.errors import InfraError
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.job_state import JobState
from tidegate.pipelines.executors.manifests import pack_id, packed_job_of, secrets_of
from tidegate.pipelines.executors.packing.documents import ENDED, PACKS, End, Turn, end_named, turn_name

if TYPE_CHECKING:
    from tidegate.pipelines.executors.kubernetes import KubernetesExecutor

# Between two listings of what the pods have ended: a twentieth of the shortest good trial, as a pod waits meanwhile.
LOOK_S, LEAST_LOOK_S, SHARE = 0.5, 0.05, 0.05


@dataclass
class Pack:
    """One packed pod.

    Attributes:
        id: of the pod, in the run.
        job: what becomes of its Job.
        turn: its newest one.
        given: when it got this turn, as of `time.monotonic()`; None: by an earlier driver, which knew.
        ended: whether the pod has ended this turn.
        open: whether it takes another one.
    """

    id: str
    job: JobState
    turn: Turn
    given: float | None
    ended: bool = False
    open: bool = True

    @property
    def is_free(self) -> bool:
        """Whether it waits for a trial."""
        if not self.ended or not self.open:
            return False
        job = self.job.find()
        self.open = not (is_finished(job) if job is not None else self.job.is_gone())
        return self.open


class PackPool:
    """Gives trials to packed pods: to one that waits, else to a new one.

    Args:
        executor: of the run.
        pack: trials of a pod at most; auto: as many as it begins in its first minutes.

    Attributes:
        look_s: seconds between two looks at what the pods have ended.
    """

    def __init__(self, executor: "KubernetesExecutor", pack: int | Literal["auto"]) -> None:
        self._executor, self._pack = executor, pack
        self._packs: dict[str, Pack] = {}
        self._ends: dict[tuple[str, int], End] = {}
        self._looked = 0.0
        self.look_s = LOOK_S
        self._next = 0
        self._known = False

    def running(self, call: StepCall) -> Pack | None:
        """The pod that runs a trial already, started by an earlier driver."""
        if not self._known:
            self._adopt()
        return next(
            (pack for pack in self._packs.values() if pack.turn.step == call.id and not pack.ended), None
        )

    def give(self, call: StepCall) -> Pack:
        """Give a trial, whose call is in the store, to a pod. Raises ClusterError, StoreError."""
        free = next((pack for pack in self._packs.values() if pack.is_free), None)
        if free is None:
            return self._launch(call)
        free.turn, free.ended = Turn(number=free.turn.number + 1, step=call.id), False
        free.given = time.monotonic()
        self._write(free)
        return free

    def _launch(self, call: StepCall) -> Pack:
        executor, target = self._executor, self._executor.home.target
        assert target is not None
        name, self._next = pack_id(self._next), self._next + 1
        turn = Turn(number=0, step=call.id)
        executor.mirror.write(turn_name(name), turn.model_dump_json().encode())
        job = packed_job_of(
            target,
            executor.run,
            name,
            self._pack,
            executor.resources,
            executor.owner,
            secrets_of(call.inputs),
        )
        made, _ = executor.ensure(job)
        state = executor.state_of(job["metadata"]["name"], name, made["metadata"]["uid"])
        self._packs[name] = Pack(name, state, turn, time.monotonic())
        return self._packs[name]

    def _write(self, pack: Pack) -> None:
        self._executor.mirror.write(turn_name(pack.id), pack.turn.model_dump_json().encode())

    def _adopt(self) -> None:
        """Find the pods of an earlier driver of the run; one that has ended its turn waits for the next."""
        executor, self._known = self._executor, True
        store, mirror = executor.home.store, executor.mirror
        keys = store.keys(mirror.key(PACKS))
        if not keys:
            return
        turns = {
            PurePath(key).stem: Turn.model_validate_json(text)
            for key, (text, _) in store.read_many(keys).items()
        }
        self._next = 1 + max(int(name.rpartition("-")[2]) for name in turns)
        jobs = executor.home.cluster.list("Job", f"{selector(run_labels(executor.run))},{PACK}")
        living = {job["metadata"]["name"]: job["metadata"]["uid"] for job in jobs if not is_finished(job)}
        for name, turn in turns.items():
            job = step_name(executor.run, name)
            if job in living and turn.step:
                self._packs[name] = Pack(name, executor.state_of(job, name, living[job]), turn, None)
        self.look(at_once=True)
        for pack in self._packs.values():
            end = self.take_end(pack)
            pack.ended, pack.open = end is not None, end is None or end.more

    def look(self, at_once: bool = False) -> None:
        """List what the pods have ended since, every `look_s` seconds at most."""
        if not at_once and time.monotonic() - self._looked < self.look_s:
            return
        mirror = self._executor.mirror
        prefix = mirror.key("")
        with contextlib.suppress(InfraError):  # out of reach; the next look will do
            for key in mirror.home.store.keys(mirror.key(ENDED)):
                end = end_named(key.removeprefix(prefix))
                self._ends[end.pack, end.number] = end
        self._looked = time.monotonic()

    def take_end(self, pack: Pack) -> End | None:
        """How a pod's turn ended, once it has; its document is removed."""
        end = self._ends.pop((pack.id, pack.turn.number), None)
        if end is not None:
            pack.ended, pack.open = True, end.more
            if pack.given is not None and end.code == 0:
                self.look_s = min(self.look_s, max(LEAST_LOOK_S, SHARE * (time.monotonic() - pack.given)))
            with contextlib.suppress(InfraError):
                self._executor.mirror.delete(end.name)
        return end

    def lose(self, pack: Pack) -> None:
        """A pod is gone, or must go."""
        self._packs.pop(pack.id, None)
        self._executor.watcher.forget(pack.id)
        pack.ended, pack.open = True, False

    def close(self) -> None:
        """There are no more trials: the pods that wait end by themselves."""
        for pack in [pack for pack in self._packs.values() if pack.ended]:
            if pack.open:
                pack.turn = Turn(number=pack.turn.number + 1, step="")
                self._write(pack)
            self._packs.pop(pack.id)
