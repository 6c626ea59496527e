"""The release pointer is linearizable: whatever promoters and readers do at once, one order explains all they saw."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tests.faults.store.faults import ALL, SEED, now_and_then
from tests.faults.store.faulty_store import FaultyServer
from tests.faults.store.histories import NEVER, Call, is_linearizable
from tests.faults.store.pointer import calls_of, with_releases
from tests.forked import ROOT
from tidegate.infra.store import FolderStore
from tidegate.infra.store.s3_store import S3Store

COUNT = 60 if ALL else 15  # calls of each client


def test_clients_of_a_folder_in_processes(tmp_path: Path) -> None:
    with_releases(FolderStore(tmp_path))
    argv = [sys.executable, "-m", "tests.faults.store.pointer", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    clients = [subprocess.Popen([*argv, str(client), str(COUNT)], **pipes) for client in range(5)]
    for client in clients:
        assert client.stdout.readline() == "ready\n"
    for client in clients:
        client.stdin.write("go\n")
        client.stdin.flush()
    calls = [Call(**call) for client in clients for call in json.loads(client.communicate(timeout=300)[0])]
    assert [client.returncode for client in clients] == [0] * 5
    check(calls)


@pytest.mark.parametrize("every", [4, 12])
def test_clients_of_a_bucket_whose_server_fails(s3: S3Server, tmp_path: Path, every: int) -> None:
    faults = now_and_then(("refused", "lost", "delayed", "doubled"), every, "pointer")
    store = S3Store(s3.url(tmp_path.name), cache=tmp_path / "cache")
    with_releases(store)
    FaultyServer(faults, spared=False).stand_before(store)
    with ThreadPoolExecutor(6) as pool:
        calls = [
            call
            for seen in pool.map(lambda client: calls_of(store, client, COUNT), range(6))
            for call in seen
        ]
    store.close()
    assert faults.met
    check(calls)


def check(calls: list[Call]) -> None:
    assert overlaps(calls) > len(calls) / 4, "the clients hardly met"
    assert is_linearizable(calls, 1), f"seed {SEED}: " + json.dumps([vars(call) for call in calls])


def overlaps(calls: Sequence[Call]) -> int:
    """How many calls began while another one was under way."""
    ended = [call for call in calls if call.ended != NEVER]
    return sum(any(one.began < call.began < one.ended for one in ended) for call in calls)


def read(answer: int, began: int, ended: int) -> Call:
    return Call("read", began, ended, answer)


def swap(value: int, before: int, began: int, ended: int) -> Call:
    return Call("swap", began, ended, before, value)


def cas(expected: int, value: int, done: bool, began: int, ended: int) -> Call:
    return Call("cas", began, ended, done, value, expected)


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        ([swap(2, 1, 0, 1), read(2, 2, 3)], True),
        ([swap(2, 1, 0, 1), read(1, 2, 3)], False),  # what was there before
        ([swap(2, 1, 0, 9), read(2, 1, 2), read(1, 3, 4)], False),  # and back again
        ([swap(2, 1, 0, 9), read(1, 1, 2), read(2, 3, 4)], True),
        ([swap(2, 1, 0, 1), swap(3, 1, 2, 3)], False),  # a lost update
        ([swap(2, 1, 0, 9), swap(3, 2, 1, 8)], True),
        ([read(7, 0, 1)], False),  # nobody wrote it
        ([cas(1, 2, True, 0, 9), cas(1, 3, True, 0, 9)], False),  # two winners
        ([cas(1, 2, True, 0, 9), cas(1, 3, False, 0, 9)], True),
        ([cas(1, 2, False, 0, 1)], False),  # refused, and nobody was faster
        ([swap(2, 1, 0, NEVER), read(2, 5, 6)], True),  # it may have been done
        ([swap(2, 1, 0, NEVER), read(1, 5, 6)], True),  # or not yet
        ([swap(2, 1, 0, NEVER), read(2, 5, 6), read(1, 7, 8)], False),  # but not both
        ([read(2, 0, 1), swap(2, 1, 2, NEVER)], False),  # nor before it began
    ],
)
def test_what_the_checker_takes_and_refuses(calls: list[Call], right: bool) -> None:
    assert is_linearizable(calls, 1) is right


def test_the_checker_says_what_all_orders_tried_out_say() -> None:
    dice, said = random.Random(SEED), []
    for _ in range(400):
        calls = [any_call(dice) for _ in range(5)]
        said.append(is_linearizable(calls, 1))
        assert said[-1] is any(
            explains(order) for some in parts(calls) for order in itertools.permutations(some)
        )
    assert 40 < sum(said) < 360


def any_call(dice: random.Random) -> Call:
    began = dice.randrange(8)
    ended = NEVER if dice.random() < 0.15 else began + dice.randrange(1, 6)
    value, answer = dice.randrange(1, 3), dice.randrange(1, 3)
    kinds = (
        read(answer, began, ended),
        swap(value, answer, began, ended),
        cas(answer, value, dice.random() < 0.7, began, ended),
    )
    return dice.choice(kinds)


def parts(calls: list[Call]) -> list[list[Call]]:
    """With and without each call of which nobody knows whether it was done."""
    known = [call for call in calls if call.ended != NEVER]
    lost = [call for call in calls if call.ended == NEVER]
    return [[*known, *some] for size in range(len(lost) + 1) for some in itertools.combinations(lost, size)]


def explains(order: Sequence[Call]) -> bool:
    state: int | None = 1
    for place, call in enumerate(order):
        left = call.after(state)
        if left is None or any(later.ended < call.began for later in order[place + 1 :]):
            return False
        state = left[0]
    return True
