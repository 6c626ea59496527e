"""Keys, certificates and kubeconfigs of the cluster, made by openssl: one CA for it, one for the aggregator."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from tidegate.infra.testbed.host.layout import API_SERVICE_IP, API_URL, NODE, NODE_IP, Layout
from tidegate.infra.testbed.host.shell import run

DAYS = "30"  # a testbed lives for hours
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
CONTEXT = "testbed"
API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class Identity:
    """One certificate: its file's name, its subject, and the names and addresses it serves under."""

    name: str
    subject: str
    serves: tuple[str, ...] = ()
    authority: str = "ca"
    kubeconfig: bool = False


IDENTITIES = (
    Identity("etcd", "/CN=etcd", ("IP:127.0.0.1",)),
    Identity(
        "apiserver",
        "/CN=kube-apiserver",
        (
            *(f"DNS:{name}" for name in API_NAMES),
            f"IP:{NODE_IP}",
            f"IP:{API_SERVICE_IP}",
            "IP:127.0.0.1",
        ),
    ),
    Identity("apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet"),
    Identity("front-proxy", "/CN=front-proxy", authority="front-proxy-ca"),
    Identity("admin", "/O=system:masters/CN=admin", kubeconfig=True),
    Identity("controllers", "/CN=system:kube-controller-manager", kubeconfig=True),
    Identity("scheduler", "/CN=system:kube-scheduler", kubeconfig=True),
    Identity("kube-proxy", "/CN=system:kube-proxy", kubeconfig=True),
    Identity("coredns", "/CN=testbed:coredns", kubeconfig=True),
    Identity(
        "metrics-server", "/CN=testbed:metrics-server", ("DNS:metrics-server.testbed.svc",), kubeconfig=True
    ),
    Identity(
        "node", f"/O=system:nodes/CN=system:node:{NODE}", (f"IP:{NODE_IP}", f"DNS:{NODE}"), kubeconfig=True
    ),
)


def ensure(layout: Layout) -> None:
    """Create missing files; existing ones stay, so that a running cluster still trusts them."""
    layout.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    for authority in ("ca", "front-proxy-ca"):
        if not (layout.pki / f"{authority}.crt").exists():
            _make(layout.pki, authority, f"/CN=tidegate-testbed-{authority}", [])
    if not (layout.pki / "service-accounts.pub").exists():
        private = layout.pki / "service-accounts.key"
        run(["openssl", "genrsa", "-out", private, "2048"])
        run(["openssl", "rsa", "-in", private, "-pubout", "-out", layout.pki / "service-accounts.pub"])
    for identity in IDENTITIES:
        _issue(layout.pki, identity)


def _issue(folder: Path, identity: Identity) -> None:
    if not (folder / f"{identity.name}.crt").exists():
        signer = folder / identity.authority
        wanted = ["-CA", f"{signer}.crt", "-CAkey", f"{signer}.key"]
        wanted += ["-addext", "basicConstraints=critical,CA:FALSE"]
        wanted += ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        if identity.serves:
            wanted += ["-addext", f"subjectAltName={','.join(identity.serves)}"]
        _make(folder, identity.name, identity.subject, wanted)
    if identity.kubeconfig:
        _kubeconfig(folder, identity.name)


def _make(folder: Path, name: str, subject: str, wanted: list[str]) -> None:
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    run(["openssl", "req", "-x509", *KEY, "-subj", subject, "-days", DAYS, *wanted, *files])


def _kubeconfig(folder: Path, name: str) -> None:
    """Write a self-contained kubeconfig (JSON, which is valid YAML)."""

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    cluster = {"server": API_URL, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": name}}],
    }
    path = folder / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
