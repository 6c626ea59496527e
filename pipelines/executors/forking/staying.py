"""When a fork server that outlives its drivers ends."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tidegate.infra.errors import InfraError
from tidegate.infra.system import memory, processes
from tidegate.infra.system.locks import lock

CHECK_S = 10.0  # between two looks at what is around an idle server
SOON_S = 0.5  # where it should end at once, and somebody looks at it just now
LEAST_MEMORY = 0.1  # of the machine, or of a control group with a limit
LOCK = "fork-servers.lock"  # held while somebody looks for a server, and while one ends


class Stay:
    """The rules of one server; it asks while nobody uses it.

    Args:
        folder: of the home's processes.
        name: of the server's record there.
        seconds: that it stays unused.

    Attributes:
        retired: whether it ends as soon as nobody uses it.
        resting: whether it has given back what it does not need unused.
    """

    def __init__(self, folder: Path, name: str, seconds: float) -> None:
        self._folder, self._name, self._seconds = folder, name, seconds
        self._since = time.monotonic()
        self.retired = False
        self.resting = False

    def use(self, seconds: float | None = None) -> None:
        """Somebody uses it, or did until now; what the last one said holds."""
        self._since, self.resting = time.monotonic(), False
        self._seconds = self._seconds if seconds is None else seconds

    @property
    def idle_s(self) -> float:
        """Seconds since it was used."""
        return time.monotonic() - self._since

    @property
    def left_s(self) -> float:
        """Seconds that it still stays if nobody uses it."""
        return max(0.0, self._seconds - self.idle_s)

    @property
    def wait_s(self) -> float:
        """Seconds until it should ask again."""
        return min(CHECK_S, max(SOON_S, 0.0 if self.retired else self.left_s))

    def is_over(self) -> bool:
        """Whether an unused server should end now: its time is over, its home is gone, or memory is short."""
        return self.retired or not self.left_s or not self.has_home() or memory.share_left() < LEAST_MEMORY

    def has_home(self) -> bool:
        """Whether its record is still there: not that of another server in a new home of the same path."""
        try:
            return os.environ[processes.MARK] in (self._folder / f"{self._name}.json").read_text()
        except OSError:
            return False

    @contextlib.contextmanager
    def last_look(self) -> Iterator[bool]:
        """Whether it may end, once it has looked for callers inside: nobody looks for servers meanwhile."""
        if not self.has_home():
            yield True
            return
        try:
            with lock(self._folder / LOCK, timeout=0):
                yield True
        except InfraError:
            yield False

    def forget(self) -> None:
        """Remove its record."""
        if self.has_home():
            (self._folder / f"{self._name}.json").unlink(missing_ok=True)

    def failed(self, trace: str) -> None:
        """Write why it ends into its log."""
        with contextlib.suppress(OSError), (self._folder / f"{self._name}.log").open("a") as log:
            log.write(trace)
