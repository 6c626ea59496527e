"""Messages between a server's supervisor and one of its processes: small JSON objects, with a socket at times."""

import json
import socket
from typing import Any

MAX_MESSAGE = 65536  # bytes


class Channel:
    """One end of a pair of connected sockets, which never block."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Two ends; messages keep their boundaries."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    def fileno(self) -> int:
        """To wait for a message with."""
        return self._end.fileno()

    def send(self, message: dict[str, Any], passed: socket.socket | None = None) -> bool:
        """Send a message, and a socket with it; False when the other end is gone."""
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], [passed.fileno()] if passed else [])
        except OSError:
            return False
        return True

    def receive(self) -> tuple[dict[str, Any], socket.socket | None] | None:
        """The next message, and the socket that came with it; None when the other end is gone.

        Raises:
            BlockingIOError: there is none now.
        """
        try:
            content, descriptors, _, _ = socket.recv_fds(self._end, MAX_MESSAGE, 1)
        except ConnectionError:
            return None
        if not content:
            return None
        return json.loads(content), socket.socket(fileno=descriptors[0]) if descriptors else None

    def close(self) -> None:
        """Close this end."""
        self._end.close()
