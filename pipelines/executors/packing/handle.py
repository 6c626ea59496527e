"""A trial in a packed pod, as the scheduler sees it: a step like any other."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tidegate.infra.cluster.jobs import Object, is_finished
from tidegate.infra.cluster.pods.diagnosis import Reason, out_of_memory, too_long, why_failed
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.packing.documents import End
from tidegate.pipelines.executors.packing.pool import Pack, PackPool

if TYPE_CHECKING:
    from tidegate.pipelines.executors.kubernetes import KubernetesExecutor

TAIL_LINES = 200  # lines kept of a failed trial's log


class PackedHandle:
    """A trial in a packed pod."""

    def __init__(
        self, executor: "KubernetesExecutor", pool: PackPool, pack: Pack, call: StepCall, *notices: str
    ) -> None:
        """Wrap a trial that a pod has got."""
        self._executor, self._pool, self._pack, self._call = executor, pool, pack, call
        self._pulled = time.monotonic()
        self._notices = list(notices)
        self._executor.running += 1

    def poll(self) -> int | None:
        """None while it runs; then its exit code, below 0 if its process was killed or its pod is gone."""
        self._pool.look()
        end = self._pool.take_end(self._pack)
        if end is not None:
            return self._ended(end)
        job = self._pack.job.find()
        if is_finished(job) if job is not None else self._pack.job.is_gone():
            return self._without_pod(job)
        if time.monotonic() - self._pulled >= self._executor.pull_s:
            self._pulled = time.monotonic()
            self._executor.pull(self._call)
        reason = self._pack.job.reason_of_pods() or self._pack.job.waiting_reason()
        if reason is None or not self._pack.job.is_out_of_patience(reason):
            return None
        return self._failed(reason, pod=True)

    def logs(self) -> str:
        """What it has printed so far, as of the last pull."""
        return self._call.log.read_text() if self._call.log.exists() else ""

    def notices(self) -> list[str]:
        """New notices since the last call; those of its pod too."""
        return [*_taken(self._notices), *_taken(self._pack.job.notices)]

    def cancel(self) -> None:
        """Delete the pod's Job: nothing else runs in it."""
        self._pool.lose(self._pack)
        self._pack.job.delete()

    def _ended(self, end: End) -> int:
        self._executor.pull(self._call, ended=True)
        if end.code == "oom" or end.code == "deadline":
            reason = out_of_memory(self._pack.job.pods()) if end.code == "oom" else too_long()
            return self._failed(reason, pod=False)
        if end.code:
            self._executor.worker_error(self._call)
        return self._over(end.code)

    def _without_pod(self, job: Object | None) -> int | None:
        """The pod is gone, and the trial may have ended before."""
        self._pool.look(at_once=True)
        end = self._pool.take_end(self._pack)
        if end is not None:
            return self._ended(end)
        self._pool.lose(self._pack)
        failed = None if job is None else why_failed(job)
        if job is not None and failed is None:  # it had waited for too long when it got the trial
            self._pack = self._pool.give(self._call)
            return None
        reason = (self._pack.job.reason_of_pods() or failed) if failed else None
        if reason is not None and reason.kind in ("oom", "deadline"):
            return self._failed(reason, pod=True)
        return self._over(-9)

    def _failed(self, reason: Reason, pod: bool) -> int:
        self._executor.write_error(self._call, reason, "\n".join(self.logs().splitlines()[-TAIL_LINES:]))
        if pod:
            self.cancel()
        return self._over(1)

    def _over(self, code: int) -> int:
        self._executor.end(self._call, code)
        return code


def _taken(notices: list[str]) -> Iterator[str]:
    while notices:
        yield notices.pop(0)
