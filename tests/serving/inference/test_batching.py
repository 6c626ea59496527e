"""Requests in one batch get what they would get alone, and none suffers for another."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.serving.inference.batching import Batcher, measure


class Model:
    """Doubles; refuses negative numbers, whoever sent them; notes how many rows it got at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, columns: Columns) -> NDArray[np.float32]:
        self.batches.append(len(columns["x"]))
        time.sleep(0.005)
        if (columns["x"] < 0).any():
            raise ValueError("negative")
        return (columns["x"][:, None] * 2).astype(np.float32)


def test_each_gets_its_own_rows_in_fewer_calls() -> None:
    model = Model()
    batcher = Batcher(model, 16)
    requests = [{"x": np.arange(start, start + 1 + start % 3, dtype=float)} for start in range(100)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(batcher.predict, requests))
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer[:, 0], request["x"] * 2)
    assert max(model.batches) <= 16
    assert len(model.batches) < len(requests)


def test_one_bad_request_fails_alone() -> None:
    batcher = Batcher(Model(), 64)
    start = threading.Barrier(8)

    def ask(number: int) -> NDArray[np.float32]:
        start.wait()
        return batcher.predict({"x": np.array([-1.0 if number == 3 else float(number)])})

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, number) for number in range(8)]
    for number, future in enumerate(asked):
        if number == 3:
            with pytest.raises(ValueError, match="negative"):
                future.result()
        else:
            assert future.result().tolist() == [[2.0 * number]]


def test_numbers_and_missing_numbers_in_one_batch() -> None:
    batcher = Batcher(Model(), 64)
    requests: list[Columns] = [{"x": np.array([7])}, {"x": np.array([1.5])}] * 20
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(batcher.predict, requests))
    assert [answer.item() for answer in answers] == [14.0, 3.0] * 20


def test_a_batch_is_chosen_only_where_it_pays() -> None:
    sample = {"x": np.zeros(3)}

    def flat(columns: Columns) -> NDArray[np.float32]:
        time.sleep(0.004)
        return np.zeros((len(columns["x"]), 1), np.float32)

    def linear(columns: Columns) -> NDArray[np.float32]:
        time.sleep(0.004 * len(columns["x"]))
        return np.zeros((len(columns["x"]), 1), np.float32)

    found = next(found for found in (measure(flat, sample, 2) for _ in range(10)) if found.rows == 32)
    assert f"{found.speeds[32]:.0f} rows/s, {found.speeds[1]:.0f} rows/s one by one" in found.summary
    # On a busy machine a thread may wait longer than the model takes, and batches do pay off; a quiet moment is enough
    assert any(measure(linear, sample, 2).rows == 1 for _ in range(10))


def test_measuring_a_slow_model_takes_no_longer() -> None:
    def slow(columns: Columns) -> NDArray[np.float32]:
        time.sleep(0.3 * len(columns["x"]))
        return np.zeros((len(columns["x"]), 1), np.float32)

    found = measure(slow, {"x": np.zeros(3)}, 2)
    assert (found.rows, list(found.speeds)) == (1, [1])
