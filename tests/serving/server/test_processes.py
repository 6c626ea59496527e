"""Several processes behind one port: one set of counts, of limits and of ends, whichever process answers."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.serving.conftest import ROOT, Running
from tidegate.serving.deployment.handover import server_argv, status

Serve = Callable[..., Running]
BODY = json.dumps({"rows": [[[0] * 8 for _ in range(8)]]}).encode()
SAMPLE = re.compile(r"^(tidegate_\w+)\{?(.*?)\}? ([\d.e+]+)$", re.MULTILINE)


def _children(server: Running) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def _ask(server: Running, times: int) -> set[str]:
    """Ask so many times, a connection each; the processes that answered, by what their request ids begin with."""
    return {server.ask("POST", "/predict", BODY)[1]["x-request-id"].partition("-")[0] for _ in range(times)}


def _counted(server: Running, start: str) -> float:
    """The value of a line of the metrics; 0 where there is none."""
    page = server.ask("GET", "/metrics")[2].decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(start))


def _soon(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


REQUESTS = 'tidegate_requests_total{code="200",endpoint="digits",release="3",route="/predict"}'
ROWS = "tidegate_predicted_rows_total{"
SECONDS = "tidegate_request_seconds_count{"
CLASSES = "tidegate_predictions_total{"


@pytest.fixture
def pair(serve: Serve, images: Path) -> Running:
    """Two processes."""
    return serve(images, "--processes", "2")


def test_each_page_has_the_counts_of_all(pair: Running) -> None:
    assert len(_children(pair)) == 2
    assert len(_ask(pair, 40)) == 2
    assert _soon(lambda: [_counted(pair, REQUESTS) for _ in range(6)] == [40.0] * 6)
    for name in (REQUESTS, ROWS, SECONDS, CLASSES):
        assert [_counted(pair, name) for _ in range(6)] == [40.0] * 6, name
    assert _counted(pair, "tidegate_processes ") == 2
    assert _counted(pair, "tidegate_ready{") == 1
    assert _counted(pair, "tidegate_in_flight{") == 0
    memory = sum(child.memory_full_info().pss for child in _children(pair))
    assert 0.5 < _counted(pair, "process_resident_memory_bytes ") / memory < 2


class Watcher:
    """Reads a counter all the time, and keeps how it went."""

    def __init__(self, server: Running) -> None:
        self._server, self.seen, self._stop = server, [0.0], threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            try:
                self.seen.append(_counted(self._server, REQUESTS))
            except (OSError, http.client.HTTPException):
                continue  # the process that was asked was killed


def test_a_killed_process_has_a_successor_and_nothing_is_counted_twice(pair: Running) -> None:
    _ask(pair, 30)
    before = {child.pid for child in _children(pair)}
    time.sleep(0.3)
    with Watcher(pair) as watcher:
        killed = _children(pair)[0]
        killed.kill()
        assert _soon(lambda: _counted(pair, "tidegate_process_restarts_total ") == 1)
        assert _soon(lambda: len({child.pid for child in _children(pair)} - before) == 1)
        time.sleep(0.5)
    assert watcher.seen == sorted(watcher.seen)
    assert watcher.seen[-1] == 30
    asked = 30
    while len(_ask(pair, 10)) < 2:
        asked += 10
        assert asked < 3000
    # What the other process counted comes a moment later, and never twice.
    assert _soon(lambda: _counted(pair, REQUESTS) >= asked + 10)
    time.sleep(0.3)
    assert _counted(pair, REQUESTS) == asked + 10
    assert pair.ask("GET", "/readyz")[0] == 200


def test_too_many_ends_end_the_server(serve: Serve, images: Path, tmp_path: Path) -> None:
    server = serve(images, "--processes", "2", log=tmp_path / "log")
    while server.process.poll() is None:
        for child in _children(server)[:1]:
            child.kill()
        time.sleep(0.2)
    assert server.process.returncode == 1
    lines = [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()]
    assert "ended with signal 9; another takes its place" in lines[0]
    assert lines[-1].endswith("the 6th within 60 s; the server drains and ends")


def test_a_process_that_hangs_is_replaced(images: Path, tmp_path: Path) -> None:
    """With a shorter patience than half a minute."""
    code = (
        "import sys; from tidegate.serving.server import supervisor, __main__ as main; "
        "supervisor.HANG_SECONDS, supervisor.CHECK_EVERY = 2.0, 0.5; sys.exit(main.main())"
    )
    control = tmp_path / "control"
    argv = [sys.executable, "-c", code, *server_argv(images, "digits", 3, control)[4:], "--processes", "2"]
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert _soon(lambda: status(control) is not None, 60)
        hanging = psutil.Process(process.pid).children()[0]
        hanging.send_signal(signal.SIGSTOP)
        assert _soon(lambda: not hanging.is_running() or hanging.status() == psutil.STATUS_ZOMBIE)
        assert _soon(lambda: len(psutil.Process(process.pid).children()) == 2)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)


def test_processes_end_with_their_supervisor(pair: Running) -> None:
    children = _children(pair)
    pair.process.kill()
    pair.process.wait(10)
    _, alive = psutil.wait_procs(children, 20)
    assert alive == []


def test_a_signal_drains_all_of_them(pair: Running) -> None:
    children = _children(pair)
    pair.process.terminate()
    assert pair.process.wait(30) == 0
    assert not any(child.is_running() for child in children)


def test_lines_of_several_processes_stay_whole(serve: Serve, images: Path) -> None:
    """In a pipe, where only short writes are whole by themselves; a request id may be long."""
    reader, writer = os.pipe()
    lines: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as pipe:
            lines.extend(pipe)

    thread = threading.Thread(target=read)
    thread.start()
    server = serve(images, "--processes", "2", "--access-log", "1", log=Path(f"/dev/fd/{writer}"))
    os.close(writer)
    clients = [threading.Thread(target=_ask, args=(server, 50)) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    server.process.terminate()
    server.process.wait(30)
    thread.join()
    assert sum(json.loads(line)["route"] == "/predict" for line in lines) == 200


@pytest.fixture
def unusable(images: Path, make_bundle: Callable[..., Path], tmp_path: Path) -> Iterator[Path]:
    """A bundle whose model no runtime can load."""
    del images
    yield make_bundle(tmp_path / "bundle", last="NoSuchOperator")


def test_a_release_that_does_not_load_is_told_once(
    unusable: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    argv = ("-m", "tidegate.serving.server", "--bundle", str(unusable), "--processes")
    alone, several = run_python(*argv, "1"), run_python(*argv, "2")
    assert (several.returncode, several.stderr) == (1, alone.stderr)
    assert len(several.stderr.splitlines()) == 1


@pytest.mark.parametrize("asked", ["0", "-1", "65", "two", ""])
def test_what_is_no_number_of_processes(
    asked: str, images: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ended = run_python("-m", "tidegate.serving.server", "--bundle", str(images), "--processes", asked)
    assert ended.returncode == 2
    assert "expected auto, or a number from 1 to 64" in ended.stderr


def test_auto_takes_one_a_cpu_where_requests_are_quick(serve: Serve, images: Path) -> None:
    cpus = len(os.sched_getaffinity(0))
    server = serve(images, "--processes", "auto")
    assert len(_children(server)) == (cpus if cpus > 1 else 0)
