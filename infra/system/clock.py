"""What time it is, and how to wait: the machine's clock, and one that a test or a simulation sets."""

import time
from typing import Protocol


class Clock(Protocol):
    """A clock that people read: it may be set forwards and back."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Seconds since the epoch, as the machine has them now."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait; a machine that sleeps meanwhile makes it longer."""
        time.sleep(seconds)


class FakeClock:
    """A clock whose time passes only by `sleep`, in no time at all, so that a week takes seconds.

    Args:
        now: where it begins, seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch, as it was set and has slept since."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Be later."""
        self._now += seconds

    def jump(self, seconds: float) -> None:
        """Be set forwards, or back by a negative number, as a machine's clock is."""
        self._now += seconds
