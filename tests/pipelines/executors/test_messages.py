"""Documents and open files over a local socket, also when several have come before the first is read."""

import os
import socket
from pathlib import Path

import pytest

from tidegate.pipelines.executors.forking.messages import receive, send


def test_each_document_is_read_by_itself(tmp_path: Path) -> None:
    one, other = socket.socketpair()
    with one, other, (tmp_path / "file").open("w") as file:
        send(one, {"pid": 1, "words": "a" * 100_000}, [file.fileno()])
        send(one, {"code": 0})
        one.shutdown(socket.SHUT_WR)
        first, files = receive(other)
        assert (first["pid"], len(first["words"]), len(files)) == (1, 100_000, 1)
        os.close(files[0])
        other.setblocking(False)
        assert receive(other) == ({"code": 0}, [])
        with pytest.raises(EOFError):
            receive(other)
