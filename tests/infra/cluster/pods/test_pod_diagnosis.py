"""What the cluster says of a pod becomes a sentence that a person can act on."""

from typing import Any

import pytest

from tidegate.infra.cluster.pods.diagnosis import why_ended, why_failed, why_from_events, why_waiting


def pod(status: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "status": status, "node": "node1"}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod({"phase": "Pending", "containerStatuses": [{"image": "reg/train:1", "state": state}]})


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return pod({"phase": "Failed", "containerStatuses": [{"image": "reg/train:1", "state": state}]})


def event(reason: str, message: str, when: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": when},
        "reason": reason,
        "message": message,
        "lastTimestamp": when,
    }


UNSCHEDULABLE = pod(
    {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            }
        ]
    }
)


@pytest.mark.parametrize(
    ("seen", "kind", "permanent", "words"),
    [
        (UNSCHEDULABLE, "unschedulable", False, ["Insufficient nvidia.com/gpu", "set resources.gpus: 0"]),
        (waiting("ErrImagePull", "not found"), "image", False, ["reg/train:1", "make images"]),
        (waiting("ImagePullBackOff"), "image", True, ["reg/train:1", "targets.yaml"]),
        (waiting("ErrImageNeverPull", "not present"), "image", True, ["not present"]),
        (
            waiting("CreateContainerConfigError", 'configmap "tidegate" not found'),
            "config",
            True,
            ["configmap"],
        ),
    ],
)
def test_a_pod_that_waits(seen: Any, kind: str, permanent: bool, words: list[str]) -> None:
    reason = why_waiting(seen)
    assert reason is not None
    assert (reason.kind, reason.permanent) == (kind, permanent)
    assert all(word in reason.message for word in words)


def test_a_pod_that_is_merely_starting_is_no_problem() -> None:
    assert why_waiting(waiting("ContainerCreating")) is None
    assert why_waiting(pod({"phase": "Pending"})) is None
    assert why_ended(pod({"phase": "Running"})) is None
    assert why_ended(ended(0, "Completed")) is None


@pytest.mark.parametrize(
    ("seen", "kind", "words"),
    [
        (ended(137, "OOMKilled"), "oom", ["OOMKilled", "node1", "resources.memory"]),
        (ended(143), "killed", ["signal 15"]),
        (ended(75, message="error: member 1 of 2 ended"), "killed", ["code 75", "member 1 of 2 ended"]),
        (ended(2, message="Traceback\nValueError: no"), "failed", ["code 2", "ValueError: no"]),
        (
            pod({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "evicted",
            ["low on memory"],
        ),
        (
            pod({"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "node is gone"}]}),
            "evicted",
            ["node1", "node is gone"],
        ),
        (pod({"phase": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z"), "killed", ["deleted"]),
    ],
)
def test_a_pod_that_ended(seen: Any, kind: str, words: list[str]) -> None:
    reason = why_ended(seen)
    assert reason is not None
    assert reason.kind == kind
    assert all(word in reason.message for word in words)


def test_events_tell_what_the_pod_does_not() -> None:
    quota = event("FailedCreate", 'pods "x" is forbidden: exceeded quota: tidegate, requested: cpu=2')
    secret = event("FailedMount", 'MountVolume.SetUp failed: secret "tidegate-store" not found')
    account = event(
        "FailedCreate", 'error looking up service account: serviceaccount "tidegate-step" not found'
    )
    pulled = event("Pulled", "image is there", "2026-01-02T00:00:00Z")
    told = [why_from_events([pulled, one]) for one in (quota, secret, account)]
    assert [reason and (reason.kind, reason.permanent) for reason in told] == [
        ("quota", False),
        ("mount", True),
        ("forbidden", True),
    ]
    assert why_from_events([pulled]) is None


def test_a_deadline_is_no_other_failure() -> None:
    def job(reason: str) -> dict[str, Any]:
        failed = {"type": "Failed", "status": "True", "reason": reason, "message": "words"}
        return {"metadata": {"name": "j"}, "status": {"conditions": [failed]}}

    deadline, other = why_failed(job("DeadlineExceeded")), why_failed(job("BackoffLimitExceeded"))
    assert deadline is not None and deadline.kind == "deadline" and "resources.deadline" in deadline.message
    assert other is not None and (other.kind, other.message) == ("failed", "words")
    assert why_failed({"metadata": {"name": "j"}, "status": {}}) is None
