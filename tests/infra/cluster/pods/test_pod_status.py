"""Why an endpoint's pod does not answer, read from its status as the API server gives it."""

from typing import Any

import pytest

from tidegate.infra.cluster.pods.status import (
    failing_container,
    is_ready,
    last_failed_exit,
    restarts,
    why_not_ready,
)

Object = dict[str, Any]


def pod(*servers: Object, init: tuple[Object, ...] = (), **metadata: Any) -> Object:
    status = {
        "conditions": [{"type": "Ready", "status": "True" if not servers else "False"}],
        "containerStatuses": list(servers),
        "initContainerStatuses": list(init),
    }
    return {"metadata": {"name": "p", **metadata}, "spec": {}, "status": status}


def ended(name: str, code: int, reason: str = "Error", restarts: int = 1, **state: Any) -> Object:
    last = {"terminated": {"exitCode": code, "reason": reason}}
    return {"name": name, "restartCount": restarts, "state": state, "lastState": last}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (pod(), ""),
        (pod(ended("server", 0)), ""),
        (pod({"name": "server", "state": {"running": {}}}), ""),
        (
            pod(ended("server", 137, "OOMKilled")),
            "container server ended: OOMKilled (exit code 137); raise serving.",
        ),
        (
            pod(init=(ended("bundle", 1, waiting={"reason": "CrashLoopBackOff"}),)),
            "container bundle ended: Error",
        ),
        (
            pod({"name": "server", "image": "r/x:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}),
            "the image r/x:1 cannot be pulled",
        ),
    ],
)
def test_trouble_in_words(known: Object, words: str) -> None:
    found = why_not_ready(known)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_a_restart_and_an_end_are_counted_once_each() -> None:
    assert restarts(pod(ended("server", 1, restarts=2, running={}))) == 2
    assert restarts(pod({"name": "server", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}})) == 2
    assert restarts({"metadata": {}}) == 0


def test_a_pod_that_is_leaving_is_not_ready() -> None:
    assert is_ready(pod())
    assert not is_ready(pod(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not is_ready({"metadata": {}})


def test_the_container_that_failed_is_the_one_whose_log_is_read() -> None:
    known = pod(ended("server", 0), init=(ended("bundle", 1),))
    assert (failing_container(known), last_failed_exit(known)) == ("bundle", "Error (exit code 1)")
    assert (failing_container(pod()), last_failed_exit(pod())) == ("", "")
