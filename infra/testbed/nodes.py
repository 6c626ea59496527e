"""Simulated nodes with GPUs, for tests that one machine cannot run: their pods start, run briefly and complete.

They are tainted: only a pod that tolerates `kwok.x-k8s.io/node` can get there.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tidegate.infra.testbed import parts
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import build
from tidegate.infra.testbed.running import kubectl, start, stop

PROCESS = "kwok"
KEY = "kwok.x-k8s.io/node"  # the annotation by which kwok selects nodes, and the key of our taint
LABEL = "type=kwok"
RUNS_FOR = "testbed.tidegate.dev/runs-for"  # a pod's annotation, such as 5s
RUNS_FOR_MS = 2000
STAGES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
)
READY_S = 0.3  # the longest time per node on two cores


def resize(layout: Layout, count: int, gpus: int = 8) -> None:
    """Create or remove simulated nodes until there are `count`, each with 64 CPUs, 512 GiB and `gpus` GPUs.

    Raises:
        NotReadyError: the nodes did not become ready.
    """
    present = _names(layout)
    wanted = [f"fake-{number:04}" for number in range(count)]
    if count:
        start(layout, PROCESS, parts.kwok(layout, _stages(layout)))
    new = [_node(name, gpus) for name in wanted if name not in present]
    if new:
        kubectl(
            layout, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": new})
        )
    gone = sorted(present - set(wanted))
    if gone and count:
        kubectl(layout, "delete", "node", "--wait=false", *gone)
    wait("Simulated nodes", lambda: _ready(layout) >= count, 20 + READY_S * count)
    if not count:
        # One request for all nodes; `kubectl delete` would send and wait for one request per node.
        kubectl(layout, "delete", "--raw", f"/api/v1/nodes?labelSelector={quote(LABEL)}")
        stop(layout, PROCESS)


def _names(layout: Layout) -> set[str]:
    return set(kubectl(layout, "get", "nodes", "-l", LABEL, "-o", "name").replace("node/", "").split())


def _ready(layout: Layout) -> int:
    path = 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{" "}{end}'
    return kubectl(layout, "get", "nodes", "-l", LABEL, "-o", path).split().count("True")


def _node(name: str, gpus: int) -> dict[str, Any]:
    size = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {KEY: "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"taints": [{"key": KEY, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": size, "capacity": size},
    }


def _stages(layout: Layout) -> Path:
    """Write kwok's stages of nodes and pods: its own documents, except that a Job's pod runs for a while."""
    source = build.copied(layout.cache, PROCESS)
    stages = [yaml.safe_load((source / f"{name}.yaml").read_text()) for name in STAGES]
    for stage in stages:
        if stage["metadata"]["name"] == "pod-complete":
            expression = f'.metadata.annotations["{RUNS_FOR}"]'
            stage["spec"]["delay"] = {
                "durationMilliseconds": RUNS_FOR_MS,
                "durationFrom": {"expressionFrom": expression},
            }
    path = layout.state / "kwok.yaml"
    path.write_text(yaml.safe_dump_all(stages))
    return path
