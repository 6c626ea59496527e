"""The supervisor of several processes that serve one release from the same sockets.

It has one thread and loads no model, so that it can fork at any time: a process that ends without being told to gets a
successor, which finds what the first one had counted. All of them accept from one queue, which lives in the sockets:
no connection that waits is lost with a process. Too many ends in a short time end all, for whoever started the server.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from tidegate.serving.deployment.handover import GRACE
from tidegate.serving.errors import ServerError
from tidegate.serving.monitoring.process_group import Cell, Member, ProcessGroup
from tidegate.serving.server.channel import Channel
from tidegate.serving.server.process_count import Loaded
from tidegate.serving.server.worker import Link

LOG = logging.getLogger("tidegate")
RESTARTS, RESTART_SECONDS = 5, 60.0  # more ends than that within so many seconds end the server
# Without a turn of its event loop a process is killed, as the kubelet would after three probes.
HANG_SECONDS = 30.0
CHECK_EVERY = 5.0  # seconds
COMMAND_SECONDS = 10.0
DRAIN_SECONDS = 2 * GRACE + 5  # after which a process that drains is killed
STOPPING = (signal.SIGTERM, signal.SIGINT)
HANDLED = (*STOPPING, signal.SIGCHLD)


@dataclass
class Process:
    """One process, as its supervisor sees it: `state` is loading, loaded, serving; `listening` on the public socket."""

    place: int
    pid: int
    channel: Channel
    state: str = "loading"
    listening: bool = False
    proof: str | None = None  # what the last one that was asked for found wrong; None: no answer yet


class Supervisor:
    """Forks the processes, and passes commands on.

    Args:
        group: the memory that they share.
        serve: serves in a forked process until that ends; returns its exit code.
        choose: how many processes there are to be, from what the first one said; None: as many as the group has places.
        private, public: the sockets to accept on; the public one may come later, with `listen`.
        delay: seconds of SIGTERM, see `EndpointServer`.

    Attributes:
        ready: called when all processes serve.
    """

    def __init__(
        self,
        group: ProcessGroup,
        serve: Callable[[Link], int],
        choose: Callable[[Loaded], int] | None,
        private: socket.socket,
        public: socket.socket | None,
        delay: float,
    ) -> None:
        self._group, self._serve, self._choose = group, serve, choose
        self._private, self.public, self._delay = private, public, delay
        self.ready: Callable[[], None] = lambda: None
        self.private_to_parent: list[socket.socket] = []  # more sockets that a forked process closes
        self.draining = False
        self.loop = asyncio.SelectorEventLoop()
        self._processes: dict[int, Process] = {}
        self._missing = list(range(1 if choose else group.size))
        self._begun, self._all_serve = False, False
        self._ends: deque[float] = deque(maxlen=RESTARTS + 1)
        self._error, self._exit_code = "", 0
        self._over, self._changed = False, asyncio.Event()
        self._checked = time.monotonic()

    def run(self) -> int:
        """Serve until a signal or `drain`; return the exit code."""
        for number in STOPPING:
            self.loop.add_signal_handler(number, self._stop, number)
        self.loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self.loop.call_later(CHECK_EVERY, self._check_beats)
        while not self._over:
            for place in () if self.draining else self._missing:
                self._fork(place)
            self._missing.clear()
            self.loop.run_until_complete(self.until(lambda: self._over or bool(self._missing)))
        self._kill()
        self._close()
        if self._error:
            print(self._error, file=sys.stderr)
        return self._exit_code

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a process says or does."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _soon(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self.until(condition)
        except TimeoutError:
            raise ServerError(f"not every process {what} within {COMMAND_SECONDS:g} s") from None

    async def listen(self, listener: socket.socket) -> None:
        """Make all processes accept on the public socket too; raises ServerError."""
        self.public = listener
        for process in self._processes.values():
            if process.state == "serving":
                process.channel.send({"do": "listen"}, listener)
        await self._soon(lambda: all(known.listening for known in self._processes.values()), "accepted")

    async def prove(self) -> str:
        """Have all processes answer the golden rows now; "", or why one of them ends. Raises ServerError."""
        asked = [process for process in self._processes.values() if process.state == "serving"]
        for process in asked:
            process.proof = None
            process.channel.send({"do": "prove"})
        await self._soon(lambda: all(process.proof is not None for process in asked), "was proved")
        return next((process.proof for process in asked if process.proof), "")

    def drain(self, grace: float, delay: float = 0.0) -> None:
        """Make all processes drain, see `EndpointServer`; the server ends after the last of them."""
        if self.draining:
            return
        self.draining = True
        for process in self._processes.values():
            process.channel.send({"do": "drain", "grace": grace, "delay": delay})
            if process.state != "serving":
                os.kill(process.pid, signal.SIGKILL)
        self.loop.call_later(delay, self._close_sockets)
        self.loop.call_later(delay + DRAIN_SECONDS, self._kill)
        self._end_if_alone()

    def _close_sockets(self) -> None:
        self._private.close()
        if self.public is not None:
            self.public.close()
            self.public = None

    def _fork(self, place: int) -> None:
        ours, theirs = Channel.pair()
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # one that comes in between is not the parent's
        pid = os.fork()
        if pid == 0:
            self._become(place, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        theirs.close()
        process = self._processes[place] = Process(place, pid, ours)
        self.loop.add_reader(ours.fileno(), self._receive, process)

    def _become(self, place: int, parent: Channel, own: Channel) -> NoReturn:
        """In the forked process: let go of what is its parent's, and serve. The parent's event loop is not touched."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            parent.close()
            for other in self._processes.values():
                other.channel.close()
            for closed in self.private_to_parent:
                closed.close()
            if self.public is not None:
                self.public.close()  # it comes with `listen`
            code = self._serve(Link(own, Member(self._group, place), self._private))
        finally:
            os._exit(code)  # what the parent registered for its own end is not run

    def _receive(self, process: Process) -> None:
        with contextlib.suppress(BlockingIOError):
            while (found := process.channel.receive()) is not None:
                self._heard(process, found[0])
            self.loop.remove_reader(process.channel.fileno())  # it ended, as SIGCHLD will tell

    def _heard(self, process: Process, message: dict[str, Any]) -> None:
        if message["state"] == "failed":
            self._error = message["error"]
        elif message["state"] == "listening":
            process.listening = True
        elif message["state"] == "proved":
            process.proof = message["problem"]
        else:
            process.state = message["state"]
        if process.state == "loaded":
            self._start(Loaded(message["quick"], message["private_bytes"]))
        elif message["state"] == "serving":
            process.listening = self.public is None
            if self.public is not None:
                process.channel.send({"do": "listen"}, self.public)
        self._changed.set()
        all_serve = (
            self._begun
            and not self._missing
            and all(known.state == "serving" and known.listening for known in self._processes.values())
        )
        if all_serve and not self._all_serve:
            self._all_serve = True
            self.ready()

    def _start(self, loaded: Loaded) -> None:
        """A process has loaded its release: it serves when all have, or at once in place of one that ended."""
        if self._choose is not None and not self._begun and len(self._processes) == 1:
            self._group.count = self._choose(loaded)
            self._missing = list(range(1, self._group.count))
        elif self._choose is None:
            self._group.count = self._group.size
        waiting = [known for known in self._processes.values() if known.state == "loaded"]
        if self._begun or (len(waiting) == self._group.count):
            self._begun = True
            for known in waiting:
                known.channel.send({"do": "serve", "processes": self._group.count})

    def _reap(self) -> None:
        for process in list(self._processes.values()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                self._receive(process)  # its last words
                self.loop.remove_reader(process.channel.fileno())
                process.channel.close()
                del self._processes[process.place]
                self._group.clear(process.place)
                self._ended(process, os.waitstatus_to_exitcode(status))
        self._changed.set()

    def _ended(self, process: Process, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"code {code}"
        if not self._all_serve and not self.draining:
            self._error = (
                self._error or f"a process of the server ended with {how} before it was ready; see its log"
            )
            self._exit_code, self._over = 1, True
        if self.draining or self._over:
            return self._end_if_alone()
        self._ends.append(time.monotonic())
        if len(self._ends) > RESTARTS and self._ends[-1] - self._ends[0] < RESTART_SECONDS:
            words = "process %d ended with %s, the %dth within %g s; the server drains and ends"
            LOG.error(words, process.pid, how, len(self._ends), RESTART_SECONDS)
            self._exit_code = 1
            return self.drain(GRACE)
        self._group.restarts += 1
        LOG.error("process %d ended with %s; another takes its place", process.pid, how)
        self._missing.append(process.place)
        return None

    def _end_if_alone(self) -> None:
        if self.draining and not self._processes:
            self._over = True
        self._changed.set()

    def _stop(self, number: int) -> None:
        """At the first signal drain, at the second one, or before all serve, end at once."""
        if self._all_serve and not self.draining:
            return self.drain(GRACE, self._delay)
        self._kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return None

    def _kill(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _close(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        self.loop.close()

    def _check_beats(self) -> None:
        now, late = time.monotonic(), time.monotonic() - self._checked > 2 * CHECK_EVERY
        for process in self._serving() if not late else ():  # if late itself, all of them stood still
            silent = now - self._group.get(process.place, Cell.BEAT) / 1000
            if silent > HANG_SECONDS:
                LOG.error("process %d has not answered for %d s and is killed", process.pid, silent)
                os.kill(process.pid, signal.SIGKILL)
        self._checked = now
        self.loop.call_later(CHECK_EVERY, self._check_beats)

    def _serving(self) -> Iterator[Process]:
        known = self._processes.values()
        return (process for process in known if self._group.get(process.place, Cell.BEAT))
