"""Limits of the requests of each caller: a token bucket, one for all processes of a server.

A caller may send `requests` at once, and regains them evenly over `per`. What is kept of one is a single number, the
time at which its bucket will be full again: the generic cell rate algorithm of ITU-T I.371, annex A.
"""

import fcntl
import math
import mmap
import tempfile
import time
from pathlib import Path

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.asgi import HeaderList
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.rates import RateLimit

SETS, WAYS = (
    8192,
    8,
)  # 65,536 callers, 1 MiB; who comes to a full set replaces the caller whose bucket is fullest
BITS = (1 << 64) - 1


class Buckets:
    """When the bucket of each caller will be full again, in memory that forked processes share."""

    def __init__(self) -> None:
        self._ids = memoryview(mmap.mmap(-1, SETS * WAYS * 8)).cast("Q")
        self._full_at = memoryview(mmap.mmap(-1, SETS * WAYS * 8)).cast("d")
        self._lock, path = tempfile.mkstemp()
        Path(path).unlink()

    def take(self, caller: int, now: float, step: float, most: float) -> tuple[bool, float]:
        """Take one request from a bucket, if there is one in it.

        Args:
            caller: number of the caller, not 0.
            now: seconds of the monotonic clock, which is the same in all processes.
            step: seconds in which a request is regained.
            most: seconds in which an empty bucket is full.

        Returns:
            Whether there was one, and in how many seconds the bucket will be full.
        """
        fcntl.lockf(self._lock, fcntl.LOCK_EX)  # a process that ends lets go of it
        try:
            place = self._place(caller)
            full_at = max(self._full_at[place], now)
            taken = full_at - now + step <= most * (1 + 1e-9)
            self._full_at[place] = full_at = full_at + step if taken else full_at
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return taken, full_at - now

    def _place(self, caller: int) -> int:
        first = caller % SETS * WAYS
        known = self._ids[first : first + WAYS].tolist()
        if caller in known:
            return first + known.index(caller)
        times = self._full_at[first : first + WAYS].tolist()
        place = first + times.index(min(times))
        self._ids[place], self._full_at[place] = caller, 0.0
        return place


class RateLimiter:
    """Counts the requests of each caller.

    Args:
        limit: how many they may send.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit, self._buckets = limit, Buckets()

    def take(self, caller: Caller) -> HeaderList:
        """Count one request; the headers of its answer.

        Raises:
            RejectedError: 429, with when to ask again.
        """
        rate = self._limit.callers.get(caller.name, self._limit)
        seconds = rate.seconds
        step = seconds / rate.requests
        # Forked processes share the secret of `hash`, which nobody else knows.
        number = hash((caller.issuer, caller.name)) & BITS or 1
        taken, full_in = self._buckets.take(number, time.monotonic(), step, seconds)
        left = max(0, int((seconds - full_in) / step + 1e-6))
        headers = [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (rate.requests, seconds)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (left, math.ceil(full_in))),
        ]
        if taken:
            return headers
        after = max(1, math.ceil(full_in + step - seconds))
        words = (
            f"more than {rate.requests} requests of this caller in {rate.per}; expected at most that; "
            f"ask again in {after} s"
        )
        raise RejectedError(429, "rate_limited", words, ((b"retry-after", b"%d" % after), *headers))
