"""Where requests of every protocol are admitted, answered and counted."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tidegate.serving.dialects import Dialect
from tidegate.serving.errors import RefusedError
from tidegate.serving.http.admission import Admission
from tidegate.serving.http.asgi import Headers, Pairs
from tidegate.serving.http.settings import Settings
from tidegate.serving.inference.engine import Answer, Answerer
from tidegate.serving.monitoring.observer import Tap
from tidegate.serving.runtimes import available_cpus

GATHERING = (
    16  # threads where requests are predicted together: all but one of them wait, and make up the next batch
)


class Desk:
    """One release at work.

    Args:
        answerer: the loaded release.
        settings: limits, keys, logs.
        is_ready: what the readiness gauge shows.
    """

    def __init__(self, answerer: Answerer, settings: Settings, is_ready: Callable[[], bool]) -> None:
        self.answerer, self.settings = answerer, settings
        answerer.most_rows, answerer.deadline = settings.limits.rows, settings.limits.deadline
        served = answerer.served
        threads = available_cpus() if answerer.batcher is None else GATHERING
        self._threads = ThreadPoolExecutor(threads, "predict")
        self._explaining = None if answerer.explainer is None else ThreadPoolExecutor(1, "explain")
        workers = 1 if answerer.is_quick(0) else threads  # quick ones are answered by the event loop
        # Threads that gather a batch share the CPUs: until it is known how long a request takes, no gain is assumed.
        seconds = answerer.pace.one * max(1.0, workers / available_cpus())
        self.admission = admission = Admission(settings.limits, workers, seconds)
        self.journal = settings.journal({"endpoint": served.name, "release": served.release})
        self._tap = None if answerer.watcher is None else Tap(answerer.watcher)
        if self._tap is not None:
            self._tap.start()
        answerer.metrics.gauges = {
            "in_flight": lambda: admission.in_flight,
            "queued": lambda: admission.queued,
            "body_bytes": lambda: admission.held,
            "ready": lambda: float(is_ready()),
            "unwatched_requests": lambda: 0 if self._tap is None else self._tap.lost,
        }

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)
        if self._explaining is not None:
            self._explaining.shutdown(wait=False)
        if self._tap is not None:
            self._tap.stop()

    async def answer(self, dialect: Dialect, body: bytes, headers: Headers) -> Answer:
        """Answer a request that was admitted: here where that is quick, else in a thread.

        Raises:
            RefusedError: 504, when the deadline is over; the thread ends by itself. 503: too many explanations.
        """
        if self.answerer.is_quick(len(body)) and not self.answerer.may_explain(dialect, body):
            return self.answerer.answer(dialect, body, headers)
        work = partial(self.answerer.answer, dialect, body, headers)
        answer = await self._in_thread(self._threads, work)
        if answer.pending is None or self._explaining is None:
            return answer
        self.admission.set_aside()
        try:
            return await self._in_thread(self._explaining, answer.pending)
        finally:
            self.admission.aside -= 1

    def finished(
        self, dialect: Dialect, answer: Answer, pairs: Pairs, began: float, *, proof: bool = False
    ) -> None:
        """Count and log a request whose answer is on its way.

        Args:
            dialect: it was asked in.
            answer: it got.
            pairs: the answer's own headers, the request's id first.
            began: when it came, as `time.perf_counter` says.
            proof: its rows are held-out ones that prove a release; drift does not count them.
        """
        spent, metrics = time.perf_counter() - began, self.answerer.metrics
        metrics.count(dialect.label, answer.status)
        if answer.values is None or answer.columns is None:
            metrics.failed(answer.kind)
            self.journal.note(pairs, dialect.label, answer.status, spent, kind=answer.kind)
            return
        metrics.predicted(answer.values, answer.seconds, spent)
        if answer.busy:
            self.admission.took(answer.busy)
        if self._tap is not None and not proof:
            self._tap.put(answer.columns, answer.values)
        self.journal.note(pairs, dialect.label, 200, spent, len(answer.values))

    def refused(self, label: str, error: RefusedError, pairs: Pairs) -> None:
        """Count and log a request that was turned away."""
        self.answerer.metrics.count(label, error.status)
        self.answerer.metrics.failed(error.kind)
        self.journal.note(pairs, label, error.status, 0.0, kind=error.kind)

    async def _in_thread(self, threads: ThreadPoolExecutor, answer: Callable[[], Answer]) -> Answer:
        loop, deadline = asyncio.get_running_loop(), self.settings.limits.deadline
        job = _Job(self.admission)

        def work() -> Answer:
            loop.call_soon_threadsafe(job.started)
            try:
                return answer()
            finally:
                loop.call_soon_threadsafe(job.ended)

        try:
            return await asyncio.wait_for(loop.run_in_executor(threads, work), deadline)
        except TimeoutError:
            job.abandon()
            words = f"no prediction within {deadline:g} s; expected one by then; send fewer rows at a time"
            raise RefusedError(504, "deadline", words) from None


class _Job:
    """A prediction in a thread, which keeps its place until it ends, whoever still waits for it."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self._running, self._over, self._abandoned = admission, False, False, False
        admission.queued += 1

    def started(self) -> None:
        self._running = True
        self._admission.queued -= 1

    def ended(self) -> None:
        self._over = True
        if self._abandoned:
            self._admission.leave(0)

    def abandon(self) -> None:
        if not self._running:
            self._admission.queued -= 1  # it was taken out of the queue before it began
        elif not self._over:
            self._abandoned = True
            self._admission.abandon()
