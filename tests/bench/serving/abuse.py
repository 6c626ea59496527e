"""What misbehaving clients get, and that a good client beside them is served: `python -m tests.bench.serving.abuse`.

Prints one table. Each line is a real server of its own; the tests of `tests/serving` assert the same, case by case.
"""

import argparse
import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.serving import overload, servers
from tests.bench.serving.asker import open_loop
from tests.bench.serving.interleaved import content
from tests.bench.serving.load import Request
from tests.bench.serving.servers import Server
from tests.serving.conftest import Running, write_images
from tests.serving.http.test_malformed import MALFORMED, GoodClient
from tests.serving.server.test_abuse import BODY, HEAD, SOCKETS, _answer, _connect, _pour

Abuse = Callable[[Server], str]
SLOW = {
    "nothing at all": b"",
    "half a line": b"POST /pre",
    "half the headers": HEAD,
    "half the body": HEAD + b"content-length: 100\r\n\r\n" + BODY[:50],
    "half a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
}


def malformed(server: Server) -> str:
    """Each request of the corpus, once."""
    seen: Counter[int] = Counter()
    running = _running(server)
    for path, body, *more in MALFORMED.values():
        headers = {name.replace("-", "_"): value for name, value in (more[0] if more else {}).items()}
        seen[running.ask("POST", path, body, **headers)[0]] += 1
    return f"{len(MALFORMED)} requests: {_counted(seen)}"


def gigabyte(chunked: bool) -> Abuse:
    """A body of a gigabyte."""

    def pour(server: Server) -> str:
        before = server.memory()
        size = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (1 << 30)
        with _connect(server.port) as connection:
            connection.sendall(HEAD + size + b"\r\n\r\n")
            sent = _pour(connection, bytes(1 << 20), chunked)
            with contextlib.suppress(ConnectionResetError):
                return f"{_status(_answer(connection))} after {sent >> 20} MiB, {server.memory() - before:+.0f} MB"
        return f"cut off after {sent >> 20} MiB, {server.memory() - before:+.0f} MB"

    return pour


def slow(sent: bytes) -> Abuse:
    """Two hundred sockets that stop there."""

    def wait(server: Server) -> str:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(_connect(server.port)) for _ in range(SOCKETS)]
            for connection in sockets:
                connection.sendall(sent)
            return f"{SOCKETS} sockets: {_counted(Counter(_status(_answer(one)) for one in sockets))}"

    return wait


def half_closed(server: Server) -> str:
    """Sockets that send a request, whole or not, and close their side; half of them do not wait for the answer."""
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    seen: Counter[str] = Counter()
    for number in range(SOCKETS):
        with _connect(server.port) as connection:
            connection.sendall(whole if number % 4 < 2 else whole[:-10])
            connection.shutdown(socket.SHUT_WR)
            seen[_status(_answer(connection)) if number % 2 else "not waited for"] += 1
    return f"{SOCKETS} sockets: {_counted(seen)}"


def terminated(server: Server) -> str:
    """SIGTERM; the good client goes on until it is told that the server is not ready."""
    process = _process(server)
    process.send_signal(signal.SIGTERM)
    while _running(server).ask("GET", "/readyz")[0] == 200:
        time.sleep(0.01)
    return "not ready at once, serving for a second more"


def killed(server: Server) -> str:
    """`kill -9`: whoever runs it sees at once that it is gone, and starts it again."""
    began = time.perf_counter()
    _process(server).kill()
    code = _process(server).wait(10)
    gone = time.perf_counter() - began
    return f"gone after {gone * 1000:.0f} ms, code {code}; ready again {server.start():.1f} s after it is started"


def overloaded(folder: Path, seconds: float) -> None:
    """Ten times what a model of some milliseconds can do; the clients are one, and all good."""
    with _served(servers.ours("heavy", overload.packaged(folder))) as server:
        rate = 10 * len(overload.closed(server.port, 3, 2)) / 3
        asked = content(Request(f"{server.url}/predict", overload.BODY, ()))
        found = open_loop(server.port, asked, seconds, rate).seen
    told = []
    for status in sorted({status for status, _ in found}):
        taken = sorted(ms for known, ms in found if known == status)
        told.append(f"{len(taken)} got {status}, p99 {taken[int(0.99 * (len(taken) - 1))]:.0f} ms")
    _line(f"10x overload, {rate:.0f} requests/s for {seconds:.0f} s", "; ".join(told), "is one of them")


def one(name: str, abuse: Abuse, folder: Path, *more: str, beside: bool = True) -> None:
    """Run one case beside a good client, print its line."""
    server = servers.ours("digits", folder)
    server.argv += more
    with _served(server):
        if not beside:
            _line(name, abuse(server), "nobody is served meanwhile")
            return
        with GoodClient(server.port) as good:
            time.sleep(0.2)
            got = abuse(server)
    failed = f"{len(good.failures)} failed" if good.failures else "none failed"
    _line(name, got, f"{good.answered} answered, {failed}, slowest {good.slowest * 1000:.0f} ms")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.abuse", description=__doc__)
    parser.add_argument("--overload", type=float, default=30.0, help="seconds of it; 0 for none")
    args = parser.parse_args()
    print("| abuse | what it got | a good client beside it |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="tidegate-abuse-") as temporary:
        folder = write_images(Path(temporary) / "bundle")
        one("malformed requests", malformed, folder, "--max-rows", "100")
        one("a body of 1 GB, announced", gigabyte(False), folder)
        one("a body of 1 GB, not announced", gigabyte(True), folder)
        for name, sent in SLOW.items():
            one(f"slow clients: {name}", slow(sent), folder, "--receive-seconds", "1.5")
        one("half-closed and vanishing sockets", half_closed, folder, "--receive-seconds", "1.5")
        one("SIGTERM under load", terminated, folder, "--drain-delay", "1")
        one("kill -9", killed, folder, beside=False)
        if args.overload:
            overloaded(Path(temporary), args.overload)


@contextlib.contextmanager
def _served(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(Exception):
            server.stop()


def _running(server: Server) -> Running:
    return Running(_process(server), server.port)


def _process(server: Server) -> "subprocess.Popen[bytes]":
    assert server.process is not None
    return server.process


def _status(answer: bytes) -> str:
    return answer[9:12].decode() or "closed"


def _counted(seen: Counter[int] | Counter[str]) -> str:
    return ", ".join(f"{count} got {status}" for status, count in sorted(seen.items(), key=str))


def _line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
