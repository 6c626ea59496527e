"""Accepts connections for one of several processes, so that each of them gets as many as the others.

All processes wait for the same socket, and whichever comes first would get a connection: of sixteen that are opened at
once, one process got fifteen, and kept them. So each takes its share of all that are open or wait, and leaves the rest
to the others; but not for long, as they may be busy.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

LOG = logging.getLogger("tidegate")
LEAVE_SECONDS = 0.005  # that a connection is left to others; then whoever comes first gets one
UNACKED_AT = 24  # bytes before that field of the kernel's `struct tcp_info`
PAUSE_SECONDS = 1.0  # without a free descriptor


class Acceptor:
    """Accepts on a listening socket until it is closed.

    Args:
        listener: the socket, which is closed with it.
        make: makes the protocol of a connection.
        share: how many of so many waiting connections are this process's, with so many that it is opening.
        at_once: connections accepted in one turn of the event loop.
        tls: what the event loop is given for TLS; default: there is none.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        share: Callable[[int, int], int],
        at_once: int,
        tls: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._listener, self._make, self._share, self._at_once = listener, make, share, at_once
        self._loop, self._tls = asyncio.get_running_loop(), tls
        self._opening: set[asyncio.Task[object]] = set()
        listener.setblocking(False)
        self._resume(left=False)

    def close(self) -> None:
        """Stop accepting."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    def _resume(self, left: bool) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept, left)

    def _pause(self, seconds: float, *, left: bool) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume, left)

    def _accept(self, left: bool) -> None:
        """Accept this process's share of what waits, or one that was left to others in vain."""
        room = 1 if left else min(self._share(self._waiting(), len(self._opening)), self._at_once)
        for _ in range(room):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                break  # another process was faster
            except ConnectionError:
                continue  # the client is gone
            except OSError as error:
                LOG.error("no connection can be accepted for %g s: %s", PAUSE_SECONDS, error.strerror)
                return self._pause(PAUSE_SECONDS, left=False)
            self._open(connection)
        if room <= 0:
            self._pause(LEAVE_SECONDS, left=True)
        elif left:
            self._resume(left=False)
        return None

    def _waiting(self) -> int:
        """How many connections wait on the socket, at least one; Linux tells it as `unacked` (see `ss`)."""
        about = self._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, UNACKED_AT + 4)
        return max(1, int.from_bytes(about[UNACKED_AT : UNACKED_AT + 4], sys.byteorder))

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._make, connection, **self._tls)
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.debug("a connection was gone before it was open, or its TLS handshake failed")
