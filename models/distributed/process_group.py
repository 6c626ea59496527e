"""The processes that train one model together: they connect, and none waits forever for one that is lost.

They connect to member 0 (`distributed.rendezvous`) and stay connected: every second each sends a heartbeat with its
progress. When a member ends, falls silent or makes no progress, all are informed and end, because a collective
operation would wait forever for the missing member. Whoever started them starts all again, from the last checkpoint.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from tidegate.models.distributed.rendezvous import LOCAL, meet, name_of, send
from tidegate.models.errors import MemberLostError

T = TypeVar("T")
EXIT_MEMBER_LOST = os.EX_TEMPFAIL  # exit code when another member was lost: all may be started again
HEARTBEAT_S = 1.0
SILENCE_LIMIT_S = 30.0  # heartbeats come from their own thread: a silent member is stopped or disconnected
GRACE_S = 3.0  # time for the main thread to raise its own error before the process is ended


@dataclass(frozen=True)
class Member:
    """One process of a group.

    Attributes:
        rank: its number, from 0; only member 0 reports, saves and writes.
        size: the number of members.
        meeting: HOST:PORT at which member 0 listens.
    """

    rank: int = 0
    size: int = 1
    meeting: str = ""

    def environment(self) -> dict[str, str]:
        """The environment variables that make a process this member."""
        return {
            "TIDEGATE_MEMBERS": str(self.size),
            "TIDEGATE_RANK": str(self.rank),
            "TIDEGATE_MEETING": self.meeting,
        }


def free_local_address() -> str:
    """A free address on this machine."""
    with socket.create_server((LOCAL, 0)) as server:
        return f"{LOCAL}:{server.getsockname()[1]}"


def current_member() -> Member:
    """The member that this process is, from the environment; the only member by default.

    A pod of an indexed Job gets its rank from its index.
    """
    variables = os.environ
    rank = variables.get("TIDEGATE_RANK") or variables.get("JOB_COMPLETION_INDEX") or "0"
    size = int(variables.get("TIDEGATE_MEMBERS", "1"))
    return Member(int(rank), size, variables.get("TIDEGATE_MEETING", "")) if size > 1 else Member()


class Group:
    """One member's connections to the others; made by `join`.

    Args:
        member: this process.
        timeout_s: how long a member may take to connect, or be without progress.
        on_lost: called from another thread with the reason just before the process ends with code `EXIT_MEMBER_LOST`.
    """

    def __init__(self, member: Member, timeout_s: float, on_lost: Callable[[str], None]) -> None:
        self.member = member
        self._timeout, self._on_lost = timeout_s, on_lost
        self._peers: dict[int, socket.socket] = {}
        self._heard: dict[int, float] = {}
        self._calls = dict.fromkeys(range(member.size) if member.rank == 0 else [member.rank], 0)
        self._moved = time.monotonic()
        self._lost_reason = ""
        self._broken, self._left = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def meet(self) -> str:
        """Wait until all members are connected; return the address for JAX's coordinator.

        Raises:
            GroupError: a member did not connect in time; names it.
        """
        address, self._peers = meet(self.member.rank, self.member.size, self.member.meeting, self._timeout)
        now = time.monotonic()
        self._heard = dict.fromkeys(self._peers, now)
        for rank in self._peers:
            threading.Thread(target=self._listen, args=(rank,), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True, name="group").start()
        return address

    def with_heartbeats(self, calls: Iterator[T]) -> Iterator[T]:
        """The same calls of a loop, with a heartbeat before and after each: a member inside a call counts as ahead."""
        ahead = iter(calls)
        while True:
            self.heartbeat()
            try:
                call = next(ahead)
            except StopIteration:
                return
            self.heartbeat()
            yield call

    def heartbeat(self) -> None:
        """Record that a call of a loop began or ended."""
        self._calls[self.member.rank] += 1
        self._moved = time.monotonic()

    def lost_reason(self) -> str:
        """After an operation failed: a message that names the lost member; "" if none was lost."""
        self._broken.wait(GRACE_S)
        self._left.set()  # the caller ends this process with its own message
        return self._lost_reason

    def leave(self) -> None:
        """Leave after the training: the others can end or continue without this member."""
        import jax

        shutdown: Any = jax.distributed.shutdown
        shutdown()  # waits for all
        self._left.set()
        self._send_all({"left": True})

    def _listen(self, rank: int) -> None:
        """Receive the messages of another member until its connection ends."""
        peer, left = self._peers[rank], False
        peer.settimeout(None)
        try:
            for line in peer.makefile("rb"):
                said: dict[str, Any] = json.loads(line)
                self._heard[rank] = time.monotonic()
                if said.get("calls", 0) > self._calls.get(rank, 0) and rank in self._calls:
                    self._calls[rank], self._moved = said["calls"], self._heard[rank]
                if "lost" in said:
                    self._declare_lost(said["lost"])
                left = left or "left" in said
        except (OSError, ValueError):
            pass
        if not left:
            self._declare_lost(f"{self._name(rank)} ended in the middle of the training")
        self._heard.pop(rank, None)

    def _watch(self) -> None:
        """Send heartbeats, and look for members that are silent or make no progress."""
        while not self._left.wait(HEARTBEAT_S):
            self._send_all({"calls": self._calls[self.member.rank]})
            now = time.monotonic()
            for rank, heard in list(self._heard.items()):
                if now - heard > min(SILENCE_LIMIT_S, self._timeout):
                    self._declare_lost(
                        f"{self._name(rank)} has been silent for {now - heard:.0f} s: its process is stopped, or its "
                        "machine or the network to it is down"
                    )
            # Before the first call of any member, preparation may take any time.
            if self.member.rank == 0 and max(self._calls.values()) and now - self._moved > self._timeout:
                least = min(self._calls.values())
                behind = [self._name(rank) for rank, calls in self._calls.items() if calls == least]
                others = ", and the others wait for it" if len(behind) < len(self._calls) else ""
                self._declare_lost(
                    f"{', '.join(behind)} made no progress for {now - self._moved:.0f} s{others}"
                )

    def _declare_lost(self, words: str) -> None:
        """Tell the others which member was lost, and end this process if it does not end by itself."""
        with self._lock:
            if self._broken.is_set() or self._left.is_set():
                return
            self._lost_reason = words
            self._broken.set()
        self._send_all({"lost": words})
        if not self._left.wait(GRACE_S):
            self._end(words)

    def _end(self, words: str) -> NoReturn:
        print(f"error: {words}", file=sys.stderr, flush=True)
        self._on_lost(words)
        sys.stdout.flush()
        os._exit(EXIT_MEMBER_LOST)

    def _send_all(self, words: dict[str, Any]) -> None:
        for peer in list(self._peers.values()):
            try:
                send(peer, words)
            except OSError:
                continue  # its listener thread notices

    def _name(self, rank: int) -> str:
        return name_of(rank, self.member.size)


def join(
    member: Member, timeout_s: float, on_lost: Callable[[str], None], kind: type[Group] = Group
) -> Group:
    """Connect to the others and make all devices available to JAX; call it before JAX is used for anything.

    Args:
        member, timeout_s, on_lost: see `Group`.
        kind: the class to create.

    Raises:
        GroupError: a member did not connect in time.
    """
    group = kind(member, timeout_s, on_lost)
    address = group.meet()
    import jax

    config: Any = jax.config
    config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    # A program of several processes that JAX 0.10.2 reads back from there ends them on a CPU, whoever set the folder.
    config.update("jax_enable_compilation_cache", False)
    host, _, port = address.rpartition(":")
    jax.distributed.initialize(
        f"{host if member.rank else LOCAL}:{port}",
        member.size,
        member.rank,
        initialization_timeout=max(60, int(timeout_s)),
        # JAX ends a process without naming the lost member: our own timeout comes first.
        heartbeat_timeout_seconds=int(timeout_s) + 300,
        coordinator_bind_address=f"{LOCAL if host == LOCAL else '[::]'}:{port}",
    )
    return group


def member_lost_error(group: Group | None, error: Exception) -> MemberLostError | None:
    """The error for a failure in the loop that was caused by a lost member; None if none was lost."""
    words = group.lost_reason() if group is not None else ""
    return MemberLostError(f"{words} ({' '.join(str(error).split())[:200]})") if words else None
