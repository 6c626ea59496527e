"""The dispatcher: answers the requests of every protocol, in the event loop or in a thread, and counts them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tidegate.serving.dialects import Dialect
from tidegate.serving.errors import RejectedError
from tidegate.serving.http.admission import Admission
from tidegate.serving.http.asgi import HeaderList, Headers
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.settings import ServerSettings
from tidegate.serving.inference.engine import InferenceEngine, Response
from tidegate.serving.inference.predictor import Tell
from tidegate.serving.monitoring.observer import ObserverQueue
from tidegate.serving.runtimes import available_cpus

# Threads where requests are predicted in batches: all but one of them wait, and form the next batch.
BATCHING_THREADS = 16


class Dispatcher:
    """Answers the requests for one release.

    Args:
        engine: the loaded release.
        settings: limits, keys, logs.
        is_ready: whether the release takes requests; for the readiness gauge.
    """

    def __init__(
        self, engine: InferenceEngine, settings: ServerSettings, is_ready: Callable[[], bool]
    ) -> None:
        self.engine, self.settings = engine, settings
        engine.max_rows, engine.deadline = settings.limits.max_rows, settings.limits.deadline_seconds
        served = engine.served
        threads = available_cpus() if engine.batcher is None else BATCHING_THREADS
        self._threads = ThreadPoolExecutor(threads, "predict")
        self._explaining = None if engine.explainer is None else ThreadPoolExecutor(1, "explain")
        workers = 1 if engine.is_quick(0) else threads  # quick ones are answered by the event loop
        # Threads that form a batch share the CPUs: until durations are measured, batches are assumed to gain nothing.
        seconds = engine.latency.one_row * max(1.0, workers / available_cpus())
        self.admission = admission = Admission(settings.limits, workers, seconds)
        self.access_log = settings.make_access_log({"endpoint": served.name, "release": served.release})
        self._observer_queue = None if engine.observer is None else ObserverQueue(engine.observer)
        if self._observer_queue is not None:
            self._observer_queue.start()
        self._recorder = engine.recorder
        if self._recorder is not None:
            self._recorder.start()
        engine.metrics.limits_callers = settings.access is not None and settings.access.limiter is not None
        engine.metrics.gauges = {
            "in_flight": lambda: admission.in_flight,
            "queued": lambda: admission.queued,
            "body_bytes": lambda: admission.body_bytes,
            "ready": lambda: float(is_ready()),
            "unwatched_requests": lambda: 0 if self._observer_queue is None else self._observer_queue.dropped,
        }
        if settings.certificate is not None:
            engine.metrics.gauges["certificate_end_timestamp_seconds"] = settings.certificate.end

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)
        if self._explaining is not None:
            self._explaining.shutdown(wait=False)
        if self._observer_queue is not None:
            self._observer_queue.stop()
        if self._recorder is not None:
            self._recorder.stop()

    async def answer(self, dialect: Dialect, body: bytes, headers: Headers) -> Response:
        """Answer an admitted request: in the event loop where that is quick, else in a thread.

        Raises:
            RejectedError: 504, after the deadline; the thread ends by itself. 503: too many explanations.
        """
        if self.engine.is_quick(len(body), dialect) and not self.engine.may_explain(dialect, body):
            return self.engine.answer(dialect, body, headers)
        work = partial(self.engine.answer, dialect, body, headers)
        answer = await self._in_thread(self._threads, work)
        if answer.pending is None or self._explaining is None:
            return answer
        self.admission.enter_explanation()
        try:
            return await self._in_thread(self._explaining, answer.pending)
        finally:
            self.admission.leave_explanation()

    async def write(self, dialect: Dialect, body: bytes, headers: Headers, tell: Tell) -> Response:
        """Answer an admitted request for texts in a thread, and tell them as they are written.

        Raises:
            RejectedError: 504, after the deadline.
            StoppedWritingError: nobody reads them any more.
        """
        return await self._in_thread(self._threads, partial(self.engine.answer, dialect, body, headers, tell))

    def record_response(
        self,
        dialect: Dialect,
        answer: Response,
        pairs: HeaderList,
        began: float,
        caller: Caller | None = None,
        *,
        proof: bool = False,
    ) -> None:
        """Count and log a request whose response was sent.

        Args:
            dialect: of the request.
            answer: the response.
            pairs: the response's own headers, the request's id first.
            began: when the request arrived, by `time.perf_counter`.
            caller: who sent it, where that is known.
            proof: its rows check a release; drift does not count them, and they are not recorded.
        """
        spent, metrics = time.perf_counter() - began, self.engine.metrics
        metrics.count(dialect.label, answer.status)
        if answer.values is None or answer.columns is None:
            metrics.failed(answer.kind)
            self.access_log.record(
                pairs, dialect.label, answer.status, spent, kind=answer.kind, caller=caller
            )
            return
        metrics.predicted(answer.values, answer.seconds, spent)
        if answer.unseen and not proof:
            metrics.unseen(answer.unseen)
        if answer.busy:
            self.admission.record_duration(answer.busy)
        if self._observer_queue is not None and not proof:
            self._observer_queue.put(answer.columns, answer.values)
        if self._recorder is not None and not proof and self._recorder.chosen():
            self._recorder.put(pairs[0][1], answer.columns, answer.values)
        self.access_log.record(pairs, dialect.label, 200, spent, len(answer.values), caller=caller)

    def record_rejection(
        self, label: str, error: RejectedError, pairs: HeaderList, caller: Caller | None = None
    ) -> None:
        """Count and log a request that was rejected."""
        self.engine.metrics.count(label, error.status)
        self.engine.metrics.failed(error.kind)
        self.access_log.record(pairs, label, error.status, 0.0, kind=error.kind, caller=caller)

    async def _in_thread(self, threads: ThreadPoolExecutor, answer: Callable[[], Response]) -> Response:
        loop, deadline = asyncio.get_running_loop(), self.settings.limits.deadline_seconds
        job = _Job(self.admission)

        def work() -> Response:
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
            raise RejectedError(504, "deadline", words) from None


class _Job:
    """A prediction in a thread: it counts as in flight until it ends, even if its request was given up."""

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
            self._admission.queued -= 1  # it was cancelled before it began
        elif not self._over:
            self._abandoned = True
            self._admission.abandon()
