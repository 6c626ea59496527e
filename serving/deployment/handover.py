"""Zero-downtime releases on one public port: a server's control socket, and the calls of whoever deploys.

A server answers one JSON command per connection on a Unix socket. `listen` makes it take the public port: it gets the
listening socket itself from the previous release's server (passed with SCM_RIGHTS), so that both accept from one queue
and no connection is refused; where there is no such server it binds the port. `drain` makes it stop accepting, finish
its requests, and end.
"""

import array
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.serving.errors import PortTakenError, ServerError, ServerStartError

MAX_ADDRESS = 100  # bytes of a Unix socket's address that every system accepts
MAX_LINE = 65536  # bytes
REPLY_SECONDS = 15.0
GRACE = 15.0  # seconds
MOST_PROCESSES = 64  # that share the ports
SECRETS = "TIDEGATE_SECRETS"  # the folder with the keys of issuers whose `jwks` is a secret; default: the working one


class RecordTo(NamedTuple):
    """What a server records, as JSON, the endpoint's folder for it, and the file of the key that encrypts it."""

    settings: str
    folder: Path
    key: Path


def server_argv(
    bundle: Path,
    name: str,
    release: int | None,
    control: Path,
    port: int | None = None,
    host: str = "127.0.0.1",
    processes: int | None = None,
    keys: Path | None = None,
    jwt: str = "",
    rate_limit: str = "",
    record: RecordTo | None = None,
) -> list[str]:
    """The command that starts a release's server.

    Args:
        bundle: folder of the bundle.
        name: the endpoint's name.
        release: the release's number.
        control: path of its control socket, which appears when it is ready.
        port: the public port to take at once; None: only a private one, until `take_over`.
        host: address of the public port.
        processes: that share the ports; None: $TIDEGATE_PROCESSES, or one.
        keys: the file of API keys; None: there are none.
        jwt: the issuers whose tokens are accepted, as JSON; "": there are none.
        rate_limit: of each caller, as JSON; "": none.
        record: which requests are kept, and where; None: none.
    """
    argv = [sys.executable, "-P", "-m", "tidegate.serving.server", "--bundle", str(bundle), "--name", name]
    argv += ["--control", str(control), "--host", host]
    argv += [] if release is None else ["--release", str(release)]
    argv += [] if processes is None else ["--processes", str(processes)]
    argv += [] if keys is None else ["--keys", str(keys)]
    argv += ["--jwt", jwt] if jwt else []
    argv += ["--rate-limit", rate_limit] if rate_limit else []
    if record is not None:
        argv += ["--record", record.settings, "--recordings", str(record.folder)]
        argv += ["--recording-key", str(record.key)]
    return argv + ([] if port is None else ["--port", str(port)])


def status(control: Path) -> dict[str, Any] | None:
    """The server's `{"pid", "name", "release", "bundle", "private_port", "port", "draining"}`; None if none is ready.

    `private_port` answers on 127.0.0.1 before the release has the public `port` (null until then).
    """
    try:
        return send_command(control, {"do": "status"})
    except (OSError, ValueError):
        return None


def wait_ready(control: Path, timeout: float, alive: Callable[[], bool]) -> dict[str, Any]:
    """Wait for a started server, return its status.

    Args:
        control: its control socket.
        timeout: seconds.
        alive: whether the process still runs.

    Raises:
        ServerStartError: it ended, or is not ready in time.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        running = alive()
        found = status(control)
        if found is not None:
            return found
        if not running:
            raise ServerStartError(
                "the server ended before it was ready; expected it to serve its bundle; see its log"
            )
        time.sleep(0.02)
    raise ServerStartError(
        f"the server was not ready within {timeout:g} s; expected it to answer on {control}; see its log"
    )


def take_over(
    control: Path, port: int, previous: Path | None = None, host: str = "127.0.0.1"
) -> dict[str, Any]:
    """Make a ready server accept on the endpoint's public port; a second call changes nothing.

    Args:
        control: the new release's server.
        port: the public port.
        previous: control socket of the release that has the port now; it keeps accepting until `drain`.
        host: address of the public port.

    Returns:
        The server's status.

    Raises:
        PortTakenError: another process has the port.
        ServerError: the server does not answer, or serves another port already.
    """
    command = {
        "do": "listen",
        "host": host,
        "port": port,
        "previous": None if previous is None else str(previous),
    }
    try:
        reply = send_command(control, command)
    except (OSError, ValueError) as error:
        raise ServerError(
            f"the server at {control} does not answer ({error}); expected it to take port {port}; "
            "deploy again"
        ) from error
    if reply.get("error") == "taken":
        raise PortTakenError(port, host)
    if "error" in reply:
        raise ServerError(f"the server at {control} refused port {port}: {reply['error']}; deploy again")
    return reply


def prove_now(control: Path) -> str:
    """Make a server answer its release's golden rows now.

    Returns:
        "", or what it answered wrong: then it takes no request any more, or the process that did is replaced.

    Raises:
        ServerError: it does not answer.
    """
    try:
        reply = send_command(control, {"do": "prove"})
    except (OSError, ValueError) as error:
        raise ServerError(
            f"the server at {control} does not answer ({error}); expected it to prove its release; submit again"
        ) from error
    if "error" in reply:
        raise ServerError(f"the server at {control} was not proved: {reply['error']}; ask again")
    return str(reply.get("problem", ""))  # a server of an older version has none


def drain(control: Path, grace: float = GRACE) -> bool:
    """Make a server stop accepting, finish its requests and end within `grace` seconds; returns at once.

    False when there is no such server.
    """
    try:
        send_command(control, {"do": "drain", "grace": grace})
    except (OSError, ValueError):
        return False
    return True


def send_command(control: Path, command: dict[str, Any]) -> dict[str, Any]:
    """Send a server one command and return its reply; raises OSError or ValueError when none answers."""
    with _connected(control) as connection:
        connection.sendall(json.dumps(command).encode() + b"\n")
        reply: dict[str, Any] = json.loads(read_line(connection))
        return reply


def request_socket(control: Path) -> socket.socket | None:
    """Get the listening socket of the server at `control`; None when it has none."""
    try:
        with _connected(control) as connection:
            connection.sendall(b'{"do": "hand"}\n')
            _, descriptors, _, _ = socket.recv_fds(connection, MAX_LINE, 1)
    except OSError:
        return None
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def send_socket(connection: socket.socket, listener: socket.socket) -> None:
    """Answer `request_socket` with the listening socket."""
    rights = array.array("i", [listener.fileno()])
    connection.sendmsg([b"{}\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP port, not listening yet; raises PortTakenError, ServerError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Two sockets may be bound to one port until one of them listens: this finds out now.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(port, host) from error
        raise ServerError(
            f"port {port} of {host} cannot be bound ({error.strerror}); expected a port from 1024 to "
            "65535 of an address of this machine; choose another with --port"
        ) from error
    return listener


def control_socket(control: Path) -> socket.socket:
    """Bind a server's control socket, in place of that of a dead server; only this user can connect."""
    control.parent.mkdir(parents=True, exist_ok=True)
    control.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(control) as address:
        listener.bind(address)
    control.chmod(0o600)
    listener.listen(8)
    return listener


def read_line(connection: socket.socket) -> bytes:
    """Read up to a newline or the end."""
    content = b""
    while not content.endswith(b"\n") and len(content) < MAX_LINE:
        part = connection.recv(MAX_LINE)
        if not part:
            break
        content += part
    return content


@contextmanager
def _connected(control: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _address(control) as address:
        connection.settimeout(REPLY_SECONDS)
        connection.connect(address)
        yield connection


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address for a path of any length: beyond the system's limit, through the open folder."""
    if len(os.fsencode(path)) <= MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
