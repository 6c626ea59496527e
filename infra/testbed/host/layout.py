"""The folders, addresses and ports of the testbed."""

import os
from dataclasses import dataclass
from pathlib import Path

NODE = "node1"
# The bridge's own address is the node's: it never leaves this machine, and pods reach it.
NODE_IP = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
API_URL = f"https://{NODE_IP}:6443"
BRIDGE = "cni0"
S3_PORT = 30900  # a NodePort: http://127.0.0.1:30900 here, http://s3.testbed:9000 from a pod
GATEWAY_PORT = 8000
GATEWAY_TLS_PORT = 8443  # of Ingresses with a certificate
METRICS_PORT = 4443


@dataclass(frozen=True)
class Layout:
    """The two folders: `cache` outlives `down`, `state` does not."""

    cache: Path
    state: Path

    @classmethod
    def default(cls) -> "Layout":
        """Take the folders from the environment: TIDEGATE_TESTBED_CACHE and TIDEGATE_TESTBED_STATE."""
        cache = os.environ.get("TIDEGATE_TESTBED_CACHE") or "~/.cache/tidegate/testbed"
        state = os.environ.get("TIDEGATE_TESTBED_STATE") or "/run/tidegate-testbed"
        return cls(Path(cache).expanduser().absolute(), Path(state).absolute())

    @property
    def processes(self) -> Path:
        """Return the folder of process records."""
        return self.state / "processes"

    @property
    def pki(self) -> Path:
        """Return the folder of keys, certificates and kubeconfigs."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.pki / "admin.kubeconfig"

    @property
    def s3_credentials(self) -> Path:
        """Return the JSON file with the S3 server's endpoint and keys."""
        return self.state / "s3.json"

    @property
    def containerd(self) -> Path:
        """Return containerd's socket."""
        return self.state / "containerd.sock"

    def log(self, name: str) -> Path:
        """Return a process' log file."""
        return self.state / "logs" / f"{name}.log"
