"""What processes share: snapshots that are whole at any time, counts that add up, and limits of all together."""

import multiprocessing
import os
import pickle
import signal
import time
from typing import Any

import pytest
from prometheus_client.registry import Collector

from tests.serving.monitoring.test_drift import CONTRACT, _answers, _rows
from tidegate.serving.bundle.drift_reference import make_reference
from tidegate.serving.errors import RejectedError
from tidegate.serving.http.admission import Admission, Held, Limits
from tidegate.serving.monitoring.drift import Drift
from tidegate.serving.monitoring.metrics import Metrics
from tidegate.serving.monitoring.process_group import Cell, Member, ProcessGroup, Snapshot


def _write_for_ever(snapshot: Snapshot) -> None:
    number = 0
    while True:
        number += 1
        snapshot.write(pickle.dumps((number, bytes([number % 256]) * 50_000)))


def test_a_snapshot_is_whole_whenever_its_writer_is_killed() -> None:
    snapshot, last = Snapshot(), 0
    assert snapshot.read() is None
    for _ in range(10):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(snapshot,))
        writer.start()
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            content = snapshot.read()
            if content is not None:
                number, filling = pickle.loads(content)
                assert filling == bytes([number % 256]) * 50_000
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        content = snapshot.read()
        assert content is not None
        last = pickle.loads(content)[0]
        snapshot = _again(snapshot)
    assert last > 1


def _again(snapshot: Snapshot) -> Snapshot:
    """As the next process at its place sees it."""
    snapshot._numbers = None
    return snapshot


class Nothing(Collector):
    """No metrics of processes."""

    def collect(self) -> list[Any]:
        return []


def _metrics(group: ProcessGroup, place: int) -> tuple[Metrics, Drift]:
    reference = make_reference(CONTRACT, _rows(5000, 1), _answers(5000, 1))
    metrics, drift = Metrics("homes", 3, ["no", "yes"]), Drift(reference, CONTRACT, "homes", 3)
    metrics.add("drift", drift)
    metrics.gauges = {"in_flight": lambda: 1.0, "ready": lambda: 1.0}
    metrics.share(Member(group, place), Nothing())
    return metrics, drift


def _answer(metrics: Metrics, drift: Drift, seed: int, rows: int = 200) -> None:
    values = _answers(rows, seed, 0.8)
    metrics.count("/predict", 200)
    metrics.predicted(values, 0.001, 0.002)
    metrics.unseen({"city": 2})
    drift([(_rows(rows, seed), values)])


def _lines(metrics: Metrics) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in metrics.page().decode().splitlines() if line[0] != "#")
    return {name: float(value) for name, value in pairs}


def test_what_two_processes_count_is_what_one_would() -> None:
    group = ProcessGroup(2)
    group.count = 2
    first, second = _metrics(group, 0), _metrics(group, 1)
    alone = ProcessGroup(1)
    one = _metrics(alone, 0)
    for seed, place in ((2, first), (3, second), (4, first), (5, second)):
        _answer(*place, seed)
        _answer(*one, seed)
    second[0].page()
    found, expected = _lines(first[0]), _lines(one[0])
    in_flight = 'tidegate_in_flight{endpoint="homes",release="3"}'
    assert (found.pop(in_flight), expected.pop(in_flight)) == (2.0, 1.0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert any(name.startswith("tidegate_drift_psi") for name in found)
    group.clear(1)
    assert _lines(first[0])[in_flight] == 1.0  # a process that ended answers nothing
    assert {**_lines(first[0]), in_flight: 0} == {**found, in_flight: 0}


def test_a_successor_goes_on_from_what_it_finds() -> None:
    group = ProcessGroup(2)
    group.count = 2
    first, second = _metrics(group, 0), _metrics(group, 1)
    _answer(*first, 2)
    _answer(*second, 3)
    second[0].page()
    before = _lines(first[0])
    group.clear(1)
    group._snapshots[1] = _again(group.snapshot(1))
    successor = _metrics(group, 1)
    assert _lines(first[0]) == before
    assert _lines(successor[0]) == before
    _answer(*successor, 4)
    successor[0].page()
    requests = 'tidegate_requests_total{code="200",endpoint="homes",release="3",route="/predict"}'
    assert _lines(first[0])[requests] == before[requests] + 1


def test_the_windows_of_all_are_as_long_as_that_of_one() -> None:
    group = ProcessGroup(2)
    group.count = 2
    (metrics, drift), _ = _metrics(group, 0), _metrics(group, 1)
    for seed in range(100):
        _answer(metrics, drift, seed)
    rows = _lines(metrics)['tidegate_drift_rows{endpoint="homes",release="3"}']
    assert 2500 <= rows <= 5200


def test_bodies_and_explanations_of_all_processes_are_limited_together() -> None:
    limits = Limits(max_total_bytes=100, max_explanations=3, max_requests=64)
    group = ProcessGroup(2)
    admissions = [_sharing(Admission(limits, 1, 1e-6), Member(group, place)) for place in range(2)]
    admissions[0].add_bytes(60)
    with pytest.raises(RejectedError, match="60 bytes of requests are being read"):
        admissions[1].add_bytes(50)
    admissions[1].add_bytes(40)
    admissions[0].in_flight += 1
    admissions[0].leave(60)
    admissions[1].add_bytes(50)
    for place in (0, 1, 0):
        admissions[place].enter_explanation()
    with pytest.raises(RejectedError, match="3 requests wait for explanations"):
        admissions[1].enter_explanation()
    admissions[0].leave_explanation()
    admissions[1].enter_explanation()
    group.clear(0)  # it was killed: what it held is free
    admissions[1].enter_explanation()
    admissions[0].explaining = 0
    for _ in range(32):
        admissions[0].enter(0, 0)
    with pytest.raises(RejectedError, match="32 requests are waiting"):
        admissions[0].enter(0, 0)


def _sharing(admission: Admission, member: Member) -> Admission:
    def tell(held: Held) -> None:
        member.set(Cell.BODY_BYTES, held.body_bytes)
        member.set(Cell.EXPLAINING, held.explaining)

    admission.share(
        2,
        lambda: Held(member.elsewhere(Cell.BODY_BYTES), member.elsewhere(Cell.EXPLAINING)),
        tell,
    )
    return admission
