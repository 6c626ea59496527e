"""What the fork server and its callers send each other: JSON documents and open files, over a local socket."""

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

HEAD = 4  # bytes of a document's length
MAX_FILES = 3


def listen(address: str) -> socket.socket:
    """Listen at a name in Linux' abstract namespace: there is no file that could be left over. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0tidegate-{address}")
    listener.listen(64)
    return listener


def connect(address: str) -> socket.socket:
    """Connect to a listener of this user.

    Raises:
        OSError: nobody listens, or it is another user's.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"\0tidegate-{address}")
        require_same_user(connection)
    except OSError:
        connection.close()
        raise
    return connection


def require_same_user(connection: socket.socket) -> None:
    """Raise PermissionError unless the process at the other end is this user's: an abstract address has no mode."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", found)[1] != os.geteuid():
        raise PermissionError("the fork server's socket is another user's")


def send(connection: socket.socket, document: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Send a document and open files; they stay open here. Raises OSError if the other end is gone."""
    body = json.dumps(document).encode()
    socket.send_fds(connection, [len(body).to_bytes(HEAD, "big")], files)
    connection.sendall(body)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next document and the files that came with it.

    Raises:
        EOFError: the other end has closed.
        BlockingIOError: the socket does not block, and nothing has come.
    """
    head, files, _, _ = socket.recv_fds(connection, HEAD, MAX_FILES)
    if len(head) < HEAD:
        raise EOFError
    connection.setblocking(True)
    body, size = b"", int.from_bytes(head, "big")
    while len(body) < size:
        part = connection.recv(size - len(body))  # and no byte of the next one
        if not part:
            raise EOFError
        body += part
    document: dict[str, Any] = json.loads(body)
    return document, files
