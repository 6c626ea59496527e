"""The processes that train one model together: they meet, and none waits for ever for one that is gone.

They meet at member 0 (`distributed.rendezvous`), and the connections stay: over them each tells every second how far it
is. A member that ends, falls silent or no longer moves is named to all, and all of them end: a collective operation
that one of them does not join would wait for ever. Who started them starts them all again, from the last checkpoint.
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
EXIT_MEMBER_LOST = os.EX_TEMPFAIL  # exit code of a member whose group broke up: all of them may try again
HEARTBEAT_S = 1.0
SILENCE_LIMIT_S = 30.0  # beats come from a thread of their own: whoever misses so many is stopped or cut off
GRACE_S = 3.0  # for the main thread to raise what it found itself, before the process is ended


@dataclass(frozen=True)
class Member:
    """One process of a group.

    Attributes:
        rank: its number, from 0; member 0 alone tells, keeps and writes.
        size: how many there are.
        meeting: HOST:PORT where member 0 listens.
    """

    rank: int = 0
    size: int = 1
    meeting: str = ""

    def environment(self) -> dict[str, str]:
        """What makes a process this member."""
        return {
            "TIDEGATE_MEMBERS": str(self.size),
            "TIDEGATE_RANK": str(self.rank),
            "TIDEGATE_MEETING": self.meeting,
        }


def free_local_address() -> str:
    """An address of this machine where nobody listens."""
    with socket.create_server((LOCAL, 0)) as server:
        return f"{LOCAL}:{server.getsockname()[1]}"


def current_member() -> Member:
    """Which member this process is; one by itself where nobody said so. A pod of an indexed Job has its index."""
    given = os.environ
    rank = given.get("TIDEGATE_RANK") or given.get("JOB_COMPLETION_INDEX") or "0"
    size = int(given.get("TIDEGATE_MEMBERS", "1"))
    return Member(int(rank), size, given.get("TIDEGATE_MEETING", "")) if size > 1 else Member()


class Group:
    """One member's connections to the others; made by `join`.

    Args:
        member: this one.
        timeout_s: how long a member may not come, or not move.
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
        """Wait until all are here; return where JAX's coordinator is to listen.

        Raises:
            GroupError: a member did not come in time; it is named.
        """
        address, self._peers = meet(self.member.rank, self.member.size, self.member.meeting, self._timeout)
        now = time.monotonic()
        self._heard = dict.fromkeys(self._peers, now)
        for rank in self._peers:
            threading.Thread(target=self._listen, args=(rank,), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True, name="group").start()
        return address

    def with_heartbeats(self, calls: Iterator[T]) -> Iterator[T]:
        """The same calls of a loop, a beat before and after each: who waits in one is ahead of who is not in it."""
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
        """A call of a loop begins, or is done."""
        self._calls[self.member.rank] += 1
        self._moved = time.monotonic()

    def lost_reason(self) -> str:
        """The member that was lost, in words, once an operation failed; "" when none was."""
        self._broken.wait(GRACE_S)
        self._left.set()  # the caller ends this process, in its own words
        return self._lost_reason

    def leave(self) -> None:
        """Training is over: the others may end, and go on without this member."""
        import jax

        shutdown: Any = jax.distributed.shutdown
        shutdown()  # waits for all
        self._left.set()
        self._send_all({"left": True})

    def _listen(self, rank: int) -> None:
        """Take in what one other says, to its end."""
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
        """Beat, and see who does not."""
        while not self._left.wait(HEARTBEAT_S):
            self._send_all({"calls": self._calls[self.member.rank]})
            now = time.monotonic()
            for rank, heard in list(self._heard.items()):
                if now - heard > min(SILENCE_LIMIT_S, self._timeout):
                    self._declare_lost(
                        f"{self._name(rank)} has said nothing for {now - heard:.0f} s: its process is stopped, or its "
                        "machine or the network to it is gone"
                    )
            # Before the first call of any, each prepares for as long as it needs.
            if self.member.rank == 0 and max(self._calls.values()) and now - self._moved > self._timeout:
                least = min(self._calls.values())
                behind = [self._name(rank) for rank, calls in self._calls.items() if calls == least]
                others = ", and the others wait for it" if len(behind) < len(self._calls) else ""
                self._declare_lost(f"{', '.join(behind)} did not move for {now - self._moved:.0f} s{others}")

    def _declare_lost(self, words: str) -> None:
        """All end: name the one that was lost to the others, and end this process if it does not end itself."""
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
                continue  # whoever listens to it knows

    def _name(self, rank: int) -> str:
        return name_of(rank, self.member.size)


def join(
    member: Member, timeout_s: float, on_lost: Callable[[str], None], kind: type[Group] = Group
) -> Group:
    """Meet the others and make all their devices JAX's; before JAX is used for anything.

    Args:
        member, timeout_s, on_lost: see `Group`.
        kind: the class to make.

    Raises:
        GroupError: a member did not come in time.
    """
    group = kind(member, timeout_s, on_lost)
    address = group.meet()
    import jax

    config: Any = jax.config
    config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    host, _, port = address.rpartition(":")
    jax.distributed.initialize(
        f"{host if member.rank else LOCAL}:{port}",
        member.size,
        member.rank,
        initialization_timeout=max(60, int(timeout_s)),
        # JAX ends a process without a word of who was lost: ours decide first.
        heartbeat_timeout_seconds=int(timeout_s) + 300,
        coordinator_bind_address=f"{LOCAL if host == LOCAL else '[::]'}:{port}",
    )
    return group


def member_lost_error(group: Group | None, error: Exception) -> MemberLostError | None:
    """The member whose loss explains what failed in the loop, as an error; None when none was lost."""
    words = group.lost_reason() if group is not None else ""
    return MemberLostError(f"{words} ({' '.join(str(error).split())[:200]})") if words else None
