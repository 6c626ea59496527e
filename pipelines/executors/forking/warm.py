"""Fork servers that stay for the next submit of their home: found, started, asked."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.system import processes
from tidegate.infra.system.locks import lock
from tidegate.infra.system.processes import Record
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.executors.forking.circumstances import circumstances, differences
from tidegate.pipelines.executors.forking.imports import Kind
from tidegate.pipelines.executors.forking.messages import connect, listen, receive, send
from tidegate.pipelines.executors.forking.process_title import ROOM
from tidegate.pipelines.executors.forking.staying import LOCK
from tidegate.pipelines.state.ages import age_in_seconds

VARIABLE = "TIDEGATE_WARM"
DEFAULT = "10m"
PREFIX = "fork-"
SERVER = "tidegate.pipelines.executors.forking.serve"
LONGEST_S = 86_400.0  # what nobody has used for a day holds its memory for nothing
ANSWER_S = 0.5  # one that imports or forks just now answers later
LOOK_S = 5.0


def warm_seconds() -> float:
    """How long fork servers stay unused, from $TIDEGATE_WARM; 0: they end with their driver.

    Raises:
        UsageError: it is no time, or longer than a day.
    """
    text = os.environ.get(VARIABLE) or DEFAULT
    seconds = age_in_seconds(f"{text}s" if text[-1].isdigit() else text)
    if seconds is None or not text.isascii() or seconds > LONGEST_S:
        raise UsageError(
            f'${VARIABLE} is "{text}"; expected seconds, or a time such as 30s, 10m or 2h, of a day at most; 0 keeps '
            "no process; correct it, or unset it"
        )
    return seconds


class WarmServers:
    """The servers of one home, as one driver sees them.

    Args:
        folder: of the home's processes.
        seconds: that a server stays after this driver.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self._seconds = folder, seconds
        self._used: dict[str, tuple[str, socket.socket]] = {}

    def address(self, kind: Kind, environment: Mapping[str, str], own_code: bool) -> str | None:
        """The address of a server for this process, found or started; it stays at least as long as this driver.

        Args:
            kind: of the process.
            environment: its variables.
            own_code: whether a user's code runs in it.

        Returns:
            None: another driver uses a server of other circumstances, or none can be started.
        """
        address, used = self._used.get(kind.name, ("", None))
        if used is not None and _is_open(used):
            return address
        try:
            with lock(self.folder / LOCK, timeout=LOOK_S):
                mine = circumstances(environment)
                found = self._find(kind, mine, own_code)
                if found == "":
                    return None
                address = found or self._start(kind, environment, mine, own_code)
                connection = connect(address)
                send(connection, {"ask": "stay", "seconds": self._seconds})
        except (InfraError, OSError):
            return None
        self.close(kind.name)
        self._used[kind.name] = address, connection
        return address

    def close(self, *names: str) -> None:
        """Let go of the servers of these kinds; of all of them when none is named."""
        for name in names or tuple(self._used):
            if name in self._used:
                self._used.pop(name)[1].close()

    def _find(self, kind: Kind, mine: Mapping[str, str], own_code: bool) -> str | None:
        """The address of a server that fits; "": a server that does not fit is in use; None: start one."""
        taken = False
        for record in living(self.folder):
            if record.extra["kind"] != kind.name or record.extra["user"] != os.geteuid():
                continue
            other = differences(mine, record.extra["circumstances"])
            if not other and record.extra["own_code"] >= own_code:
                if _listens(str(record.extra["address"])):
                    return str(record.extra["address"])
                processes.stop(self.folder, record.name, grace=0.0)  # it was killed just now
                continue
            old = "code" in other or "packages" in other  # nothing is forked from it any more
            state = ask(record, "state")
            if old or (state is not None and not state["users"] and not state["steps"]):
                ask(record, "retire")
            else:
                taken = True
        return "" if taken else None

    def _start(
        self, kind: Kind, environment: Mapping[str, str], mine: Mapping[str, str], own_code: bool
    ) -> str:
        address, name = os.urandom(16).hex(), self._free_name(kind)
        extra = {
            "kind": kind.name,
            "address": f"{address}-{kind.name}",
            "user": os.geteuid(),
            "own_code": own_code,
            "circumstances": mine,
        }
        with listen(str(extra["address"])) as listener:
            argv = [sys.executable, "-P", "-m", SERVER, "--fd", str(listener.fileno())]
            argv += ["--kind", kind.model_dump_json(), *(("--own-code",) if own_code else ())]
            argv += [
                "--stay",
                str(self._seconds),
                "--records",
                str(self.folder),
                "--name",
                name,
                "--room",
                ROOM,
            ]
            processes.start(
                self.folder,
                name,
                argv,
                log=self.folder / f"{name}.log",
                cwd=Path("/"),
                env=environment,
                extra=extra,
                pass_fds=(listener.fileno(),),
            )
        return str(extra["address"])

    def _free_name(self, kind: Kind) -> str:
        taken = {record.name for record in living(self.folder)}
        numbers = (f"{PREFIX}{kind.name}-{number}" for number in range(1, len(taken) + 2))
        return next(name for name in numbers if name not in taken)


def living(folder: Path) -> Iterator[Record]:
    """The records of the fork servers that run, by name."""
    for path in sorted(folder.glob(f"{PREFIX}*.json")):
        with contextlib.suppress(InfraError):  # a damaged record, or no right to read it
            record = processes.find(folder, path.stem)
            if record is not None:
                yield record


def ask(record: Record, what: str) -> dict[str, Any] | None:
    """Ask a server for its "state", or to "retire"; None: it does not answer now.

    Returns:
        Numbers of `users` and `steps`, `idle_s` and `left_s` in seconds, and whether it has `retired`.
    """
    try:
        with connect(str(record.extra["address"])) as connection:
            connection.settimeout(ANSWER_S)
            send(connection, {"ask": what})
            return receive(connection)[0]
    except (OSError, EOFError):
        return None


def _listens(address: str) -> bool:
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def _is_open(connection: socket.socket) -> bool:
    """Whether the other end of a connection on which nothing is said is there."""
    try:
        return bool(connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
