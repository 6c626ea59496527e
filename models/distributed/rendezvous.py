"""How the members of a group connect to each other.

Member 0 listens at an address that all know. Once all are connected, it sends them the address at which JAX's own
coordinator will listen. The connections stay open.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from tidegate.models.errors import GroupError

LOCAL = "127.0.0.1"


def meet(rank: int, size: int, meeting: str, timeout_s: float) -> tuple[str, dict[int, socket.socket]]:
    """Wait until all members are connected.

    Args:
        rank, size: this member's rank, and the number of members.
        meeting: HOST:PORT at which member 0 listens.
        timeout_s: how long a member may take to connect.

    Returns:
        HOST:PORT for JAX's coordinator, and the connections by rank: member 0 has one to each other member, each of
        these has one to member 0.

    Raises:
        GroupError: a member did not connect in time; names it.
    """
    host, _, port = meeting.rpartition(":")
    end = time.monotonic() + timeout_s
    if rank:
        return _meet_first_member(rank, size, (host, int(port)), end, timeout_s)
    return _meet_all_members(size, host, int(port), end, timeout_s)


def name_of(rank: int, size: int) -> str:
    """A member's name in messages."""
    return f"member {rank} of {size}"


def send(peer: socket.socket, words: dict[str, Any]) -> None:
    """Send a message to another member, as a line of JSON; raises OSError."""
    peer.sendall(json.dumps(words).encode() + b"\n")


def _meet_all_members(
    size: int, host: str, port: int, end: float, timeout_s: float
) -> tuple[str, dict[int, socket.socket]]:
    """Member 0's part."""
    peers: dict[int, socket.socket] = {}
    missing = set(range(1, size))
    try:
        with _server(host, port) as server:
            while missing:
                server.settimeout(max(0.01, end - time.monotonic()))
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    raise _absent_error(missing, size, timeout_s) from None
                missing.discard(_admit(peers, peer))
    except GroupError:
        for peer in peers.values():
            peer.close()
        raise
    with _server(host, 0) as free:
        address = f"{host}:{free.getsockname()[1]}"
    for peer in peers.values():
        send(peer, {"coordinator": address})
    return address, peers


def _admit(peers: dict[int, socket.socket], peer: socket.socket) -> int | None:
    """Add a connection and return its rank; None if it is not a member."""
    try:
        peer.settimeout(5.0)
        rank = int(json.loads(_line(peer))["rank"])
    except (OSError, ValueError, KeyError, TypeError):
        peer.close()
        return None
    before, peers[rank] = peers.get(rank), peer
    if before is not None:  # it connected again, which replaces the first connection
        before.close()
    return rank


def _meet_first_member(
    rank: int, size: int, meeting: tuple[str, int], end: float, timeout_s: float
) -> tuple[str, dict[int, socket.socket]]:
    """Any other member's part."""
    while time.monotonic() < end:
        peer = None
        try:
            peer = socket.create_connection(meeting, timeout=5.0)
            send(peer, {"rank": rank})
            peer.settimeout(max(0.01, end - time.monotonic()) + 5.0)  # member 0 names who is missing
            return str(json.loads(_line(peer))["coordinator"]), {0: peer}
        except (OSError, ValueError):
            if peer is not None:
                peer.close()
            time.sleep(0.2)  # member 0 does not listen yet, or its name does not resolve yet
    raise _absent_error({0}, size, timeout_s)


def _absent_error(ranks: set[int], size: int, timeout_s: float) -> GroupError:
    names = ", ".join(name_of(rank, size) for rank in sorted(ranks))
    return GroupError(
        f"{names} did not connect within {timeout_s:g} s; expected all members; look at its log; if it waits for "
        "resources, set resources.member_timeout higher or resources.nodes lower"
    )


def _server(host: str, port: int) -> socket.socket:
    """A listening socket: on this machine only if all members are here, else on every address."""
    if host == LOCAL:
        return socket.create_server((LOCAL, port))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _line(peer: socket.socket) -> bytes:
    """Read one short line, and not a byte more: the rest belongs to the listener thread."""
    line = b""
    while not line.endswith(b"\n"):
        byte = peer.recv(1)
        if not byte or len(line) > 1000:
            raise ConnectionError("closed, or not a member")
        line += byte
    return line
