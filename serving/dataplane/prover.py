"""Proves a loaded release again from time to time, by its golden rows, off the path of requests."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from tidegate.serving.errors import ProofError
from tidegate.serving.inference.engine import InferenceEngine

# So many proofs in a row without an answer, such as for lack of memory, until one counts as failed; so soon they come.
UNANSWERED, SOON_S = 3, 60.0
LOG = logging.getLogger("tidegate")


class Prover:
    """The proofs of one process.

    Args:
        engine: the loaded release, proved when it was loaded.
        every: seconds between two proofs; 0: none after the first.
        failed: called with the reason when a proof failed.

    Attributes:
        problem: why the release is not to be asked here any more; "" while the last proof passed.
    """

    def __init__(self, engine: InferenceEngine, every: float, failed: Callable[[str], None]) -> None:
        self._engine, self._every, self._failed = engine, every, failed
        self.problem, self._unanswered = "", 0
        self._running: asyncio.Task[None] | None = None
        if engine.golden is not None:
            self._record()

    def start(self) -> None:
        """Prove from now on; in the event loop."""
        if self._engine.golden is not None and self._every > 0:
            self._running = asyncio.get_running_loop().create_task(self._repeat())

    def stop(self) -> None:
        """Prove no more."""
        if self._running is not None:
            self._running.cancel()

    async def prove(self) -> str:
        """Prove now, in a thread; "", or why it failed, also where that does not count yet."""
        if self._engine.golden is None or self.problem:
            return self.problem
        try:
            self._engine.proof = await asyncio.to_thread(self._engine.golden.prove)
        except ProofError as error:
            self._unanswered += 1
            if not error.wrong and self._unanswered < UNANSWERED:
                LOG.warning("proved again soon: %s", error)
                return str(error)
            self.problem = str(error)
            self._engine.metrics.proved("failed")
            LOG.error("not ready any more: %s", error)
            self._failed(self.problem)
        else:
            self._unanswered = 0
            self._record()
        return self.problem

    def _record(self) -> None:
        proof, metrics = self._engine.proof, self._engine.metrics
        assert proof is not None
        metrics.proved("passed")
        metrics.proof = {
            "proof_timestamp_seconds": time.time(),
            "proof_rows": float(proof.rows),
            "proof_share": proof.share,
        }

    async def _repeat(self) -> None:
        while not self.problem:
            # Replicas that started together do not prove together.
            every = min(self._every, SOON_S) if self._unanswered else self._every
            await asyncio.sleep(every * random.uniform(0.8, 1.2))
            await self.prove()
