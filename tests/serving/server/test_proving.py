"""A server that starts to answer wrong takes no request any more: by its own proof, or when it is asked to prove."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.serving.conftest import ROOT, Running
from tidegate.serving.deployment.handover import prove_now, server_argv, status, wait_ready
from tidegate.serving.errors import ServerError
from tidegate.serving.http.settings import prove_seconds

BODY = json.dumps({"rows": [[[0] * 8 for _ in range(8)]]}).encode()
# A server whose networks answer otherwise from the moment on when a file appears that names their process, or all.
WRONG = """
import os, sys
from pathlib import Path
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.server import __main__ as main

made = Predictor.__init__


def make(self, contract, transforms, run):
    def wrong(inputs):
        sign = Path(os.environ["WRONG"])
        if sign.exists() and sign.read_text() == "none":
            raise MemoryError("no memory")
        return run(inputs) + (0.01 if sign.exists() and sign.read_text() in ("all", str(os.getpid())) else 0)

    made(self, contract, transforms, wrong)


Predictor.__init__ = make
sys.exit(main.main())
"""
Serve = Callable[..., tuple[Running, Path, Path]]


@pytest.fixture
def wrong_server(proved: Path, tmp_path: Path, free_port: int) -> Iterator[Serve]:
    """Returns a function that starts a server; with it come its control socket and the file to write."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*more: str) -> tuple[Running, Path, Path]:
        control, sign = tmp_path / "control", tmp_path / "sign"
        argv = [sys.executable, "-c", WRONG, *server_argv(proved, "digits", 3, control, free_port)[4:], *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "WRONG": str(sign)}
        running.append(subprocess.Popen(argv, env=environment))
        wait_ready(control, 60, lambda: running[-1].poll() is None)
        return Running(running[-1], free_port), control, sign

    yield begin
    for process in running:
        process.kill()
        process.wait(10)


def soon(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def metric(server: Running, start: str) -> float:
    page = server.ask("GET", "/metrics")[2].decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(start))


def test_a_server_that_answers_wrong(wrong_server: Serve) -> None:
    server, control, sign = wrong_server()
    assert prove_now(control) == ""
    assert metric(server, 'tidegate_proofs_total{endpoint="digits",release="3",result="passed"}') == 2
    assert metric(server, "tidegate_proof_rows{") == 25
    assert 0 < metric(server, "tidegate_proof_share{") < 0.1
    assert time.time() - metric(server, "tidegate_proof_timestamp_seconds{") < 60
    sign.write_text("all")
    assert server.ask("POST", "/predict", BODY)[0] == 200  # nobody has noticed yet
    assert "golden rows were answered wrong" in prove_now(control)
    for method, path, body in (
        ("GET", "/readyz", None),
        ("GET", "/livez", None),  # to be started again
        ("POST", "/predict", BODY),
        ("POST", "/v1/models/digits:predict", b'{"instances": []}'),
    ):
        code, _, answer = server.ask(method, path, body)
        assert (code, b"golden rows were answered wrong" in answer) == (503, True), path
    assert server.ask("GET", "/v2/health/ready")[0] != 200
    assert metric(server, 'tidegate_proofs_total{endpoint="digits",release="3",result="failed"}') == 1
    assert metric(server, "tidegate_ready{") == 0
    found = status(control)
    assert found is not None
    assert "golden rows" in found["problem"]


def test_no_answer_is_told_and_counts_from_the_third_on(wrong_server: Serve) -> None:
    server, control, sign = wrong_server()
    sign.write_text("none")
    for _ in range(2):
        assert "were not answered: no memory" in prove_now(control)
        assert server.ask("GET", "/readyz")[0] == 200
    sign.unlink()
    assert prove_now(control) == ""
    sign.write_text("none")
    for _ in range(3):
        assert "were not answered: no memory" in prove_now(control)
    assert server.ask("GET", "/readyz")[0] == 503


def test_it_finds_out_by_itself(wrong_server: Serve) -> None:
    server, _, sign = wrong_server("--prove-every", "1")
    assert soon(lambda: metric(server, "tidegate_proofs_total{") >= 3)
    assert server.ask("GET", "/readyz")[0] == 200
    sign.write_text("all")
    assert soon(lambda: server.ask("GET", "/readyz")[0] == 503)
    assert server.ask("POST", "/predict", BODY)[0] == 503


def test_one_of_several_processes_has_a_successor(wrong_server: Serve) -> None:
    server, control, sign = wrong_server("--processes", "2")
    children = psutil.Process(server.process.pid).children()
    sign.write_text(str(children[0].pid))
    assert "golden rows were answered wrong" in prove_now(control)
    assert soon(lambda: not children[0].is_running())
    assert soon(lambda: len(psutil.Process(server.process.pid).children()) == 2)
    assert prove_now(control) == ""

    def answers() -> set[int]:
        try:
            return {server.ask("POST", "/predict", BODY)[0] for _ in range(10)}
        except (OSError, http.client.HTTPException):
            return set()

    assert soon(lambda: answers() == {200})
    assert children[1].is_running()


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"does not answer .*; expected it to prove its release"):
        prove_now(tmp_path / "control")


def test_how_often() -> None:
    assert prove_seconds("0") == 0
    assert prove_seconds("3600") == 3600
    for text in ("often", "0.5", "-1", "nan", "inf"):
        with pytest.raises(ServerError, match=f"{text!r} is not how often .* at least 1, or 0"):
            prove_seconds(text)
