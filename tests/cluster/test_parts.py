"""Parts of the testbed that other tests lean on: metrics, simulated nodes with GPUs, faults on purpose."""

import json
from collections.abc import Iterator

import pytest

from tidegate.infra.testbed import faults, nodes
from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.running import kubectl

pytestmark = pytest.mark.cluster
JOB = "simulated"


@pytest.fixture
def simulated(layout: Layout) -> Iterator[Layout]:
    """Two simulated nodes of eight GPUs each."""
    nodes.resize(layout, 2)
    try:
        yield layout
    finally:
        kubectl(layout, "delete", "job", JOB, "--ignore-not-found", "--wait=false")
        nodes.resize(layout, 0)


def job(**more: object) -> str:
    limits = {"nvidia.com/gpu": 4}
    container = {"name": "main", "image": "localhost/nothing:1", "resources": {"limits": limits}}
    pod = {"restartPolicy": "Never", "containers": [container], **more}
    spec = {"completions": 6, "parallelism": 6, "template": {"spec": pod}}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": JOB}, "spec": spec})


def test_the_autoscaler_can_ask_for_metrics(layout: Layout) -> None:
    def usage() -> list[str]:
        found = json.loads(kubectl(layout, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))
        return [node["usage"]["cpu"] for node in found["items"]]

    wait("The node's metrics", lambda: bool(usage()), 60)


def test_jobs_run_through_on_simulated_gpus(simulated: Layout) -> None:
    tolerations = [{"key": nodes.KEY, "operator": "Exists"}]
    kubectl(simulated, "apply", "-f", "-", stdin=job(tolerations=tolerations))
    kubectl(simulated, "wait", "--for=condition=Complete", f"job/{JOB}", "--timeout=90s")
    where = kubectl(
        simulated, "get", "pods", "-l", f"job-name={JOB}", "-o", "jsonpath={.items[*].spec.nodeName}"
    )
    assert set(where.split()) == {"fake-0000", "fake-0001"}


def test_a_pod_that_does_not_ask_for_it_is_never_simulated(simulated: Layout) -> None:
    kubectl(simulated, "apply", "-f", "-", stdin=job())

    def told() -> bool:
        return "untolerated taint" in kubectl(
            simulated, "get", "events", "-o", "jsonpath={.items[*].message}"
        )

    wait("The scheduler's refusal", told, 30)


def test_simulated_nodes_come_and_go(simulated: Layout) -> None:
    nodes.resize(simulated, 4)
    assert kubectl(simulated, "get", "nodes", "-l", nodes.LABEL, "-o", "name").split() == [
        f"node/fake-000{number}" for number in range(4)
    ]
    nodes.resize(simulated, 0)
    assert not kubectl(simulated, "get", "nodes", "-l", nodes.LABEL, "-o", "name")


def test_the_api_server_starts_anew_and_forgets_old_revisions(layout: Layout) -> None:
    faults.restart(layout, "apiserver")
    assert faults.compact(layout) > 1
    faults.restart(layout, "apiserver")  # its cache remembers what etcd does not
    old = "/api/v1/pods?watch=true&resourceVersion=2&timeoutSeconds=1"
    assert json.loads(kubectl(layout, "get", "--raw", old))["object"]["code"] == 410


def test_a_part_that_is_not_there_is_an_error_that_names_those_that_are(layout: Layout) -> None:
    with pytest.raises(PreconditionError, match=r"the process is 'api'.*apiserver"):
        faults.restart(layout, "api")
