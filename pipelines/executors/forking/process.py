"""A process that a fork server was asked for; one of its own where the server refuses, or is gone."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tidegate.pipelines.executors.forking.messages import receive, send

LAST_S = 10.0  # for a process to end after its pipe was closed, or its fork server died


class ForkedProcess:
    """The part of `subprocess.Popen` that a handle needs.

    Args:
        connection: to the server, which was asked.
        files: standard input, output and error, for a process of its own; closed once they are not needed.
        argv: the command line of a process of its own.
        environment: its variables.
        folder: its working folder.
        stdin: the writing end of its standard input.
    """

    def __init__(
        self,
        connection: socket.socket | None,
        files: Sequence[int],
        argv: Sequence[str],
        environment: dict[str, str],
        folder: Path,
        stdin: BinaryIO,
    ) -> None:
        self._connection, self._files = connection, list(files)
        self._argv, self._environment, self._folder = argv, environment, folder
        self._fresh: subprocess.Popen[bytes] | None = None
        self._process: int | None = None  # a pidfd
        self.pid: int | None = None
        self.returncode: int | None = None
        self.stdin = stdin
        if connection is None:
            self._start_fresh()

    def poll(self) -> int | None:
        """None while it runs or is about to, then its exit code; below 0 for a signal."""
        while self.returncode is None and self._fresh is None and self._hear():
            pass
        if self._fresh is not None:
            self.returncode = self._fresh.poll()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(list(self._argv), timeout or 0.0)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._send_signal(signal.SIGTERM, group=False)

    def end(self, grace_s: float) -> None:
        """Send it SIGTERM, so that a training saves its state; after `grace_s` seconds kill what is left."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(grace_s)
        self.kill_group()

    def kill(self) -> None:
        """Kill it."""
        self._send_signal(signal.SIGKILL, group=False)

    def kill_group(self) -> None:
        """Kill it and the processes that it started, and wait for it."""
        self._send_signal(signal.SIGKILL, group=True)
        self.wait()

    def _send_signal(self, number: signal.Signals, group: bool) -> None:
        self.poll()
        if self._fresh is not None:
            _signal_group(self._fresh.pid, number) if group else self._fresh.send_signal(number)
        elif self.pid is None:  # not forked yet: as soon as it is, it finds its pipe closed, and ends
            self.stdin.close()
            self._end(-number)
        elif self.returncode is None and self._connection is not None:
            try:
                send(self._connection, {"signal": number, "group": group})
            except OSError:
                self._lose()
        elif group:
            _signal_group(self.pid, number)  # what it left behind

    def _hear(self) -> bool:
        """Read one document of the server; whether there was one."""
        assert self._connection is not None
        self._connection.setblocking(False)
        try:
            told, files = receive(self._connection)
        except BlockingIOError:
            return False
        except (EOFError, OSError):
            self._lose()
            return True
        if "pid" in told:
            self.pid, (self._process,) = told["pid"], files
            self._close_files()
        elif "code" in told:
            self._end(told["code"])
        else:
            os.write(self._files[2], f"a process of its own: {told['refused']}\n".encode())
            self._start_fresh()
        return True

    def _lose(self) -> None:
        """The server is gone: a step that it has not forked begins in a process of its own, others are ended."""
        if self._process is None:
            self._start_fresh()
            return
        self.stdin.close()
        if not select.select([self._process], [], [], LAST_S)[0]:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        self._end(-signal.SIGKILL)

    def _start_fresh(self) -> None:
        stdin, stdout, stderr = self._files
        self._fresh = subprocess.Popen(
            self._argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            env=self._environment,
            cwd=self._folder,
        )
        self.pid = self._fresh.pid
        self._close_files()
        self._close()

    def _end(self, code: int) -> None:
        self.returncode = code
        self._close_files()
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            os.close(self._process)
            self._process = None

    def _close_files(self) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
