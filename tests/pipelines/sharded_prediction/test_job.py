"""The Indexed Job of a batch prediction: what its pods may, and what becomes of one that fails."""

from typing import Any

import pytest

from tests.cluster.small_bundles import PROOF
from tests.pipelines.walks.test_golden import TARGETS
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.sharded_prediction.document import BatchPlan
from tidegate.pipelines.sharded_prediction.job import PodSize, job_name, job_of, shards_of
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import Release

PLAN = BatchPlan(model="cellar", release=3, bundle="b" * 64, format="csv", csv={}, shards=9, inputs=())
RELEASE = Release(
    number=3,
    endpoint="cellar",
    run="cellar-1",
    trial="t",
    key="k",
    bundle="b" * 64,
    bento="cellar:1",
    runtime="onnx",
    parity=PROOF,
    created="2026-11-30",
    secrets=("warehouse",),
)
DEFAULT = Resources.model_validate({})
TARGET = Target.model_validate(TARGETS["plain"])


def made(
    target: str | dict[str, Any] = "plain",
    release: Release = RELEASE,
    size: PodSize | None = None,
    resources: Resources = DEFAULT,
) -> dict[str, Any]:
    known = Target.model_validate(TARGETS[target] if isinstance(target, str) else target)
    return job_of(known, release, PLAN, "s3://out/may", [2, 5, 8], size or PodSize(), resources)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def test_an_index_for_each_shard_that_is_left() -> None:
    job = made()
    assert job["metadata"]["name"] == job_name(PLAN, "s3://out/may")
    assert job_name(PLAN, "s3://out/may") != job_name(PLAN, "s3://out/june")  # which may run at the same time
    assert shards_of(job) == [2, 5, 8]
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert "backoffLimit" not in spec  # else one bad shard would end the others
    assert spec["backoffLimitPerIndex"] == 2
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["FailIndex", "Ignore"]
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1]
    (worker,) = pod_of(job)["containers"]
    assert worker["command"][-6:] == [
        "--output",
        "s3://out/may",
        "--bundle",
        "/bundle/release",
        "--shards",
        "2,5,8",
    ]


def test_the_bundle_is_fetched_by_a_container_before() -> None:
    pod = pod_of(made())
    (fetcher,), (worker,) = pod["initContainers"], pod["containers"]
    assert fetcher["command"][-3:] == ["fetch", "b" * 64, "/bundle/release"]
    mounts = {mount["name"]: mount for mount in worker["volumeMounts"]}
    assert mounts["bundle"] == {"name": "bundle", "mountPath": "/bundle", "readOnly": True}
    assert mounts["secret-warehouse"]["mountPath"] == "/etc/tidegate/secrets/warehouse"
    volumes = {volume["name"] for volume in pod["volumes"]}
    used = {mount["name"] for one in (fetcher, worker) for mount in one["volumeMounts"]}
    assert used <= volumes
    signed = pod_of(made(release=RELEASE.model_copy(update={"signed_by": "key"})))
    assert "TIDEGATE_TRUSTED_KEYS" in [one["name"] for one in signed["initContainers"][0]["env"]]


def test_pods_are_a_steps_by_label_account_and_the_targets_policy() -> None:
    pods = {
        "labels": {"cost-center": "ml"},
        "steps": {"env": {"TZ": "Europe/Oslo"}, "runtime_class": "gvisor"},
    }
    job = made({**TARGETS["plain"], "pods": pods})
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert (labels["tidegate.dev/step"], labels["app.kubernetes.io/component"]) == ("predict", "step")
    assert labels["cost-center"] == "ml"
    pod = pod_of(job)
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("tidegate-step", False)
    assert pod["runtimeClassName"] == "gvisor"
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": "TZ", "value": "Europe/Oslo"} in container["env"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_with_identity_no_secret_of_the_store_is_mounted() -> None:
    store = {"url": "gs://models/tidegate", "credentials": "identity"}
    pod = pod_of(made({**TARGETS["plain"], "store": store}))
    assert "store" not in [volume["name"] for volume in pod["volumes"]]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert "store" not in [mount["name"] for mount in container["volumeMounts"]]


def test_place_and_priority_are_those_of_the_experiment() -> None:
    resources = Resources.model_validate(
        {"node_selector": {"pool": "cpu"}, "priority_class": "research", "queue": "team-a", "gpus": 4}
    )
    job = made(resources=resources)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    pod = pod_of(job)
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"pool": "cpu"}, "research")
    assert "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize(
    ("serving", "size", "limits"),
    [
        ({}, PodSize(), {"cpu": "1000m", "memory": "2Gi"}),
        ({"resources": {"cpu": 4, "memory": "3Gi"}}, PodSize(), {"cpu": "4000m", "memory": "3Gi"}),
        (
            {"resources": {"cpu": 4, "memory": "3Gi"}},
            PodSize(0.5, "512Mi"),
            {"cpu": "500m", "memory": "512Mi"},
        ),
    ],
)
def test_size(serving: dict[str, Any], size: PodSize, limits: dict[str, str]) -> None:
    job = made(release=RELEASE.model_copy(update={"serving": serving}), size=size)
    assert pod_of(job)["containers"][0]["resources"]["limits"] == limits


def test_not_all_pods_at_once() -> None:
    assert made(size=PodSize(parallel=2))["spec"]["parallelism"] == 2
    many = job_of(TARGET, RELEASE, PLAN, "s3://out/may", range(1000), PodSize(), DEFAULT)
    assert (many["spec"]["completions"], many["spec"]["parallelism"]) == (1000, 32)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (PodSize(cpu=0), "--cpu is 0"),
        (PodSize(memory="4 GB"), "--memory is"),
        (PodSize(parallel=0), "--parallel is 0"),
    ],
)
def test_what_is_no_size(size: PodSize, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        size.check()
