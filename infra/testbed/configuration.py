"""The configuration files of containerd, its network, the kubelet and CoreDNS."""

import json
from pathlib import Path
from typing import Any

from tidegate.infra.testbed.host.layout import BRIDGE, NODE_IP, POD_CIDR, Layout
from tidegate.infra.testbed.images.archives import PAUSE

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc dies at a score below its own ("get final child's PID").
CONTAINERD = """\
version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{state}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{state}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""

# Only the cluster's names: nothing a pod asks leaves this machine.
COREFILE = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig} testbed
        pods insecure
    }}
    cache 5
}}
"""


def write(layout: Layout) -> None:
    """Write every file under the state folder."""
    state = layout.state
    words = {"state": state, "socket": layout.containerd, "pause": PAUSE}
    _put(state / "containerd.toml", CONTAINERD.format(**words))
    _put(state / "cni" / "10-testbed.conflist", json.dumps(_network(state), indent=1))
    _put(state / "kubelet.yaml", json.dumps(_kubelet(layout), indent=1))
    _put(state / "Corefile", COREFILE.format(address=NODE_IP, kubeconfig=layout.pki / "coredns.kubeconfig"))
    _put(state / "resolv.conf", "")


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _network(state: Path) -> dict[str, Any]:
    addresses: dict[str, Any] = {
        "type": "host-local",
        "dataDir": f"{state}/cni-addresses",
        "ranges": [[{"subnet": POD_CIDR}]],
    }
    addresses["routes"] = [{"dst": "0.0.0.0/0"}]
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "testbed", "plugins": [bridge, ports]}


def _kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/node.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/node.key",
        "containerRuntimeEndpoint": f"unix://{layout.containerd}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{layout.state}/resolv.conf",
        "syncFrequency": "10s",  # in which a pod gets its changed Secrets: tests wait for it
        "podLogsDir": f"{layout.state}/pod-logs",
        "volumePluginDir": f"{layout.state}/volume-plugins",
        # Other people's disk and images are none of this kubelet's business.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusMaxImages": -1,  # `tidegate check` looks for ours among them
    }
