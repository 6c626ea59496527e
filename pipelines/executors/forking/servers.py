"""The fork servers that a driver asks: its own ones, those of its home, or those that somebody started for many."""

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tidegate.pipelines.executors.forking.circumstances import circumstances
from tidegate.pipelines.executors.forking.imports import Kind
from tidegate.pipelines.executors.forking.messages import connect, listen, send
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.process_title import ROOM
from tidegate.pipelines.executors.forking.warm import SERVER, WarmServers, warm_seconds

# 0: every step is a process of its own. Anything else: servers that others started, at VALUE-KIND.
VARIABLE = "TIDEGATE_FORK_SERVER"


def can_fork() -> bool:
    """Whether processes can be forked here: on Linux, unless $TIDEGATE_FORK_SERVER is 0."""
    return sys.platform == "linux" and os.environ.get(VARIABLE) != "0"


def start_server(
    kind: Kind, name: str, environment: dict[str, str], log: int, own_code: bool = False, now: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a fork server at `NAME-KIND`; it ends when its standard input is closed, and with the thread that called.

    Args:
        kind: which processes it forks.
        name: unique on this machine.
        environment: its variables; processes with other early ones are not forked.
        log: an open file for what it prints.
        own_code: whether it imports what only a user's code may need.
        now: whether it imports at once, not when its first process is asked for.
    """
    with listen(f"{name}-{kind.name}") as listener:
        argv = [
            sys.executable,
            "-P",
            "-m",
            SERVER,
            "--fd",
            str(listener.fileno()),
            "--kind",
            kind.model_dump_json(),
        ]
        options = [*(("--own-code",) if own_code else ()), *(("--now",) if now else ())]
        return subprocess.Popen(
            [*argv, *options, "--room", ROOM],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
            pass_fds=(listener.fileno(),),
        )


class ForkServers:
    """Asks for processes.

    Args:
        own: whether a server is started when its first process is asked for, if nobody else started servers.
        records: the home's folder of processes, where servers stay for the next submit; None: none stays.
    """

    def __init__(self, own: bool = True, records: Path | None = None) -> None:
        self._shared = os.environ.get(VARIABLE) or None if can_fork() else None
        self._starts = own and can_fork() and not self._shared
        self._name = f"{os.getpid()}-{os.urandom(16).hex()}"
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        seconds = warm_seconds() if records and can_fork() and not self._shared else 0.0
        self._warm = WarmServers(records, seconds) if records and seconds else None
        weakref.finalize(self, _let_go, self._own, self._warm)

    def start(
        self,
        kind: Kind | None,
        argv: Sequence[str],
        environment: dict[str, str],
        log: Path,
        names: Sequence[str] | None = None,
    ) -> ForkedProcess:
        """Start a process and return at once; one that is not forked is started anew.

        Args:
            kind: of the process; None: it is not forked.
            argv: its command line, `python -P -m MODULE` and the arguments.
            environment: its variables.
            log: what it prints is appended to this file.
            names: of the user's modules that it may import; None: no code of the user's runs in it.

        Raises:
            OSError: it cannot be started.
        """
        reading, writing = os.pipe()
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        files = (reading, file, os.dup(file))
        return self.start_on(files, os.fdopen(writing, "wb"), kind, argv, environment, Path.cwd(), names)

    def start_on(
        self,
        files: Sequence[int],
        stdin: BinaryIO,
        kind: Kind | None,
        argv: Sequence[str],
        environment: dict[str, str],
        folder: Path,
        names: Sequence[str] | None = None,
    ) -> ForkedProcess:
        """The same on open files: standard input, output and error; `stdin` is what writes to the first one."""
        connection = None
        address = self.ready(kind, environment, files[2], names is not None) if kind else None
        if kind is not None and address:
            asked = {
                "ask": "fork",
                "own_code": names is not None,
                "names": list(names or ()),
                "arguments": list(argv[argv.index(kind.module) + 1 :]),
                "variables": environment,
                "folder": str(folder),
                "argv": list(argv),
            }
            connection = _ask(address, asked, environment, files)
        return ForkedProcess(connection, files, argv, environment, folder, stdin)

    def ready(self, kind: Kind, environment: dict[str, str], log: int, own_code: bool) -> str | None:
        """Have a server of this kind, which imports at once if it is new; return its address, or None.

        Args:
            kind: which processes it forks.
            environment: their variables.
            log: an open file for what a server prints that ends with this process.
            own_code: whether a user's code is to run in them.
        """
        if self._shared:
            return f"{self._shared}-{kind.name}"
        kept = self._warm.address(kind, environment, own_code) if self._warm else None
        if kept or not self._starts:
            return kept
        known = self._own.get(kind.name)
        if known is None or known.poll() is not None:
            end_servers([known] if known else [])
            self._own[kind.name] = start_server(kind, self._name, environment, log, own_code, now=True)
        return f"{self._name}-{kind.name}"


def _ask(
    address: str, asked: dict[str, Any], environment: dict[str, str], files: Sequence[int]
) -> socket.socket | None:
    """Ask a server for a process; None: there is no server, and the process is started all the same."""
    try:
        connection = connect(address)
    except OSError:
        return None
    try:
        send(connection, {**asked, "circumstances": circumstances(environment)}, files)
    except OSError:
        connection.close()
        return None
    return connection


def _let_go(own: "dict[str, subprocess.Popen[bytes]]", warm: WarmServers | None) -> None:
    end_servers(own.values())
    if warm is not None:
        warm.close()


def end_servers(servers: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Kill servers: they keep nothing, and the steps that they forked are children of init from then on."""
    for server in servers:
        server.kill()
        server.wait()
        if server.stdin is not None:
            server.stdin.close()
