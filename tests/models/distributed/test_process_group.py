"""Several devices of one process, and two processes, learn what one does; and who is missing is named."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Program
from tests.models.on_backend import printed_on
from tidegate.models.distributed.devices import require_equal_shares
from tidegate.models.distributed.process_group import (
    EXIT_MEMBER_LOST,
    Group,
    Member,
    current_member,
    free_local_address,
)
from tidegate.models.errors import GroupError, OptionsError
from tidegate.models.families import FAMILIES

PATIENCE_S = 400.0


def start(case: str, member: Member | None = None, devices: int = 1, *more: str) -> Program:
    """A member, or one process by itself."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    env = {"XLA_FLAGS": flags, **(member.environment() if member else {})}
    return Program("jax", "tests.models.together", case, *more, env=env)


def ended(processes: list[Program]) -> list[tuple[int | None, str, str]]:
    """Exit code, stdout and stderr of each."""
    try:
        told = [process.communicate(timeout=PATIENCE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *words) for process, words in zip(processes, told, strict=True)]


def figures(told: tuple[int | None, str, str]) -> dict[str, Any]:
    code, out, err = told
    assert code == 0, err[-3000:]
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found["weights"] == pytest.approx(expected["weights"], rel=1e-4) and all(
        epoch == pytest.approx(other, abs=1e-4)
        for epoch, other in zip(found["epochs"], expected["epochs"], strict=True)
    )


def pair(case: str, devices: int = 1, *more: str) -> list[Program]:
    """Two members; what is asked in addition is asked of the second."""
    meeting = free_local_address()
    return [
        start(case, Member(rank, 2, meeting), devices, "--timeout", "60", *(more if rank else ()))
        for rank in (0, 1)
    ]


@pytest.mark.parametrize("case", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_two_devices_and_two_processes_learn_what_one_device_does(case: str) -> None:
    devices = figures(ended([start(case, None, 2, "--alone")])[0])
    alone = devices.pop("alone")
    members = [figures(told) for told in ended(pair(case))]
    assert (alone["devices"], devices["devices"], members[0]["devices"]) == (1, 2, 2)
    assert same(devices, alone) and same(members[0], alone)
    assert members[0] == members[1]


@pytest.mark.slow
def test_two_processes_of_two_devices_learn_what_one_device_does() -> None:
    alone = figures(ended([start("mlp", None, 1)])[0])
    members = [figures(told) for told in ended(pair("mlp", 2))]
    assert members[0]["devices"] == 4
    assert same(members[0], alone) and members[0] == members[1]


@pytest.mark.parametrize("case", ["changed", pytest.param("own", marks=pytest.mark.slow)])
def test_two_and_four_devices_of_tensorflow_learn_and_go_on_as_one_does(case: str, tmp_path: Path) -> None:
    """Dropout, statistics of a batch, images that change, masks, weights of rows, a last smaller batch."""
    found = printed_on("tensorflow", "-m", "tests.models.replicas", case, str(tmp_path))
    shares_alike(found)
    assert found["used"] == [f"/device:CPU:{place}" for place in range(4)]
    assert len(set(found["digests"])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_shared_by_devices_of_tensorflow(family: str) -> None:
    shares_alike(printed_on("tensorflow", "-m", "tests.models.replicas", family))


def shares_alike(found: dict[str, Any]) -> None:
    for devices in ("2", "4"):
        assert found[devices]["apart"] < 1e-5  # of any variable, the state of random numbers too
        for epoch, other in zip(found[devices]["epochs"], found["1"]["epochs"], strict=True):
            assert epoch == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("--kill", "member 1 of 2 ended in the middle of the training"),
        ("--stop", r"member 1 of 2 has been silent for \d+ s: its process is stopped"),
        ("--hang", r"member 1 of 2 made no progress for \d+ s, and the others wait for it"),
    ],
)
def test_a_member_that_is_lost_ends_the_others_and_is_named(how: str, words: str) -> None:
    first, second = pair("mlp", 1, how, "6")
    code, out, err = ended([first])[0]
    second.kill()
    second.communicate()
    assert code != 0
    assert re.search(words, out + err)


def test_a_member_that_never_comes_is_named() -> None:
    group = Group(Member(0, 3, free_local_address()), 1.0, print)
    came = threading.Thread(target=lambda: _comes(group.member.meeting, 1))
    came.start()
    with pytest.raises(GroupError, match=r"^member 2 of 3 did not connect within 1 s; .*look at its log"):
        group.meet()
    came.join()


def test_a_first_member_that_never_comes_is_named() -> None:
    began = time.monotonic()
    with pytest.raises(GroupError, match=r"^member 0 of 2 did not connect within 0.5 s"):
        Group(Member(1, 2, free_local_address()), 0.5, print).meet()
    assert time.monotonic() - began < 30


def test_who_is_none_of_them_is_not_let_in() -> None:
    group = Group(Member(0, 2, free_local_address()), 2.0, print)

    def others() -> None:
        for line in (b"GET / HTTP/1.1\r\n\r\n", b"x" * 2000, b'{"rank": "no"}\n', b"[]\n"):
            _say(group.member.meeting, line)

    stranger = threading.Thread(target=others)
    stranger.start()
    with pytest.raises(GroupError, match="member 1 of 2"):
        group.meet()
    stranger.join()


def _comes(meeting: str, rank: int) -> None:
    _say(meeting, json.dumps({"rank": rank}).encode() + b"\n")


def _say(meeting: str, line: bytes) -> None:
    host, _, port = meeting.rpartition(":")
    for _ in range(100):
        try:
            with socket.create_connection((host, int(port)), timeout=5) as peer:
                peer.sendall(line)
                peer.shutdown(socket.SHUT_WR)
                peer.recv(1)
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
        except OSError:
            return


def test_which_member_a_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_member() == Member(0, 1, "")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert current_member() == Member(0, 1, "")  # a pod of an indexed Job of somebody else's
    for name, value in (("TIDEGATE_MEMBERS", "2"), ("TIDEGATE_MEETING", "train-0.train:8476")):
        monkeypatch.setenv(name, value)
    assert current_member() == Member(1, 2, "train-0.train:8476")
    for name, value in Member(0, 2, "here:1").environment().items():
        monkeypatch.setenv(name, value)
    assert current_member() == Member(0, 2, "here:1")
    assert EXIT_MEMBER_LOST == 75


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            ("tensorflow", 2, 2, 32),
            r"resources.gpus is 2 .* 'tensorflow'; expected the devices of one node .*; set .* set nodes to 1",
        ),
        (
            ("tensorflow", 2, 1, 33),
            r"33; expected a multiple of 2, because the devices share each batch equally",
        ),
        (("torch", 0, 2, 32), "resources.nodes is 2"),
        (
            ("torch", 2, 1, 32),
            r"'torch'; expected one device with this backend.* set gpus to 1 and nodes to 1",
        ),
        (
            ("jax", 2, 2, 34),
            r"34; expected a multiple of 4, .* share each batch equally; set for example batch_size: 36",
        ),
    ],
)
def test_what_can_not_be_shared_is_refused(asked: tuple[str, int, int, int], words: str) -> None:
    require_equal_shares("jax", 2, 2, 36)
    require_equal_shares("tensorflow", 1, 1, 33)
    require_equal_shares("tensorflow", 3, 1, 33)
    with pytest.raises(OptionsError, match=words):
        require_equal_shares(*asked)


def test_what_devices_of_tensorflow_can_not_share_is_refused() -> None:
    import keras
    import tensorflow as tf

    from tidegate.models.distributed.tensorflow_replicas import devices_for, shared_step

    seen = len(tf.config.list_logical_devices("CPU"))
    assert devices_for(1, 33) == []
    with pytest.raises(OptionsError, match=rf"gpus is {seen + 1} and TensorFlow has {seen} devices"):
        devices_for(seen + 1, 8 * (seen + 1))
    given = keras.Input((4, 3), name="x")
    hidden = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="inside"))(given)
    with pytest.raises(OptionsError, match=r"inside' \(BatchNormalization\) is inside another layer"):
        shared_step(keras.Model({"x": given}, hidden), ["one", "other"])
