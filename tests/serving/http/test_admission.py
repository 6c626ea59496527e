"""How many requests are taken on, what they may hold, and what is counted: without a server."""

import time

import numpy as np
import pytest

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.admission import Admission, Limits
from tidegate.serving.monitoring.metrics import Metrics
from tidegate.serving.monitoring.observer import MAX_ROWS, Observation, ObserverQueue


def _rejected(admission: Admission, waiting: int = 0, size: int = 0) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        admission.enter(waiting, size)
    return caught.value


def test_places_follow_how_long_a_request_takes() -> None:
    admission = Admission(
        Limits(queue_seconds=0.1, min_requests=4), workers=2, seconds=0.02
    )  # room for 0.1 * 2 / 0.02
    for _ in range(10):
        admission.enter(0, 0)
    error = _rejected(admission)
    assert (error.status, error.kind, error.headers) == (503, "overloaded", ((b"retry-after", b"1"),))
    for _ in range(10):
        admission.leave(0)
    time.sleep(0.15)
    for _ in range(200):
        admission.record_duration(0.001)
    for _ in range(100):
        admission.enter(0, 0)
    assert _rejected(admission, waiting=10_000).status == 503


def test_under_overload_nobody_waits_long() -> None:
    admission = Admission(
        Limits(queue_seconds=0.1, overload_queue_seconds=0.01, min_requests=4), workers=2, seconds=0.02
    )
    for _ in range(10):
        admission.enter(0, 0)
    _rejected(admission)
    for _ in range(7):
        admission.leave(0)
        _rejected(admission)  # two are worked at, and one waits: no more, as long as that is so
    admission.leave(0)
    admission.enter(0, 0)
    _rejected(admission)
    for _ in range(2):
        admission.leave(0)
    time.sleep(0.15)
    for _ in range(9):  # a worker was free and none was refused for a while: a burst may wait again
        admission.enter(0, 0)
    _rejected(admission)


def test_one_slow_request_moves_little() -> None:
    admission = Admission(Limits(queue_seconds=0.1, min_requests=1), workers=1, seconds=0.001)
    admission.record_duration(30.0)
    for _ in range(90):
        admission.enter(0, 0)


def test_bodies_are_bounded_together() -> None:
    admission = Admission(Limits(max_body_bytes=10, max_total_bytes=25), workers=1, seconds=0.001)
    assert _rejected(admission, size=11).status == 413
    for _ in range(3):
        admission.enter(0, 10)
    admission.add_bytes(10)
    admission.add_bytes(10)
    with pytest.raises(RejectedError, match="20 bytes of requests are being read"):
        admission.add_bytes(6)
    admission.add_bytes(5)
    admission.leave(10)
    admission.add_bytes(10)


def test_a_body_still_to_come_takes_no_place() -> None:
    """However many send slowly, there is room for who does not."""
    admission = Admission(Limits(queue_seconds=0.1, min_requests=4), workers=1, seconds=0.02)
    for _ in range(100):
        admission.enter(0, 1 << 20)
        admission.reading += 1
    for _ in range(5):
        admission.enter(0, 10)
    assert _rejected(admission).kind == "overloaded"


def test_predictions_are_counted_by_class() -> None:
    metrics = Metrics("pets", 4, ["cat", "dog"])
    metrics.predicted(np.array([[0.1, 0.9]], np.float32), 0.001, 0.002)
    metrics.predicted(np.array([[0.1, 0.9], [0.8, 0.2]] * 1000, np.float32), 0.1, 0.2)
    page = metrics.page().decode()
    assert 'tidegate_predictions_total{endpoint="pets",label="cat",release="4"} 1000.0' in page
    assert 'tidegate_predictions_total{endpoint="pets",label="dog",release="4"} 1001.0' in page
    assert 'tidegate_predicted_rows_total{endpoint="pets",release="4"} 2001.0' in page
    assert 'tidegate_request_seconds_bucket{endpoint="pets",le="0.002",release="4"} 1.0' in page
    assert 'tidegate_request_seconds_bucket{endpoint="pets",le="+Inf",release="4"} 2.0' in page


def test_many_classes_share_a_label_and_numbers_have_buckets() -> None:
    many = Metrics("words", 1, [f"w{number}" for number in range(300)])
    many.predicted(np.eye(300, dtype=np.float32), 0.1, 0.1)
    assert (
        'tidegate_predictions_total{endpoint="words",label="other",release="1"} 100.0' in many.page().decode()
    )
    numbers = Metrics("prices", None)
    numbers.predicted(np.array([[-5.0], [0.0], [1.0], [2e9]], np.float32), 0.1, 0.1)
    page = numbers.page().decode()
    for edge, count in (("-1.0", 1), ("0.0", 2), ("1.0", 3), ("1000000.0", 3), ("+Inf", 4)):
        assert (
            f'tidegate_prediction_value_bucket{{endpoint="prices",le="{edge}",release=""}} {count}.0' in page
        )


def test_a_queue_hands_over_and_survives_its_observer() -> None:
    taken: list[Observation] = []

    def watch(seen: object) -> None:
        assert isinstance(seen, list)
        taken.extend(seen)
        raise ValueError("an observer may fail")

    queue = ObserverQueue(watch, interval=0.01)
    queue.start()
    queue.put({"x": np.zeros(3)}, np.zeros((3, 2), np.float32))
    queue.put({"x": np.arange(39 * MAX_ROWS)}, np.zeros((39 * MAX_ROWS, 2), np.float32))
    queue.stop()
    assert [len(values) for _, values in taken] == [3, MAX_ROWS]
    assert [len(columns["x"]) for columns, _ in taken] == [3, MAX_ROWS]
    assert taken[1][0]["x"].tolist() == list(range(0, 39 * MAX_ROWS, 39))  # of all of it, not its first rows
