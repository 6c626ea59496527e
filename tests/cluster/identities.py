"""Other people than the administrator: kubeconfigs of a service account's token and of a person's certificate."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.infra.testbed.host.layout import API_URL, Layout
from tidegate.infra.testbed.host.shell import run
from tidegate.infra.testbed.images import build
from tidegate.infra.testbed.running import kubectl


@dataclass(frozen=True)
class Identity:
    """Somebody who asks the API server."""

    kubectl_path: Path
    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl as this one; TestbedError when it refuses."""
        return run([self.kubectl_path, f"--kubeconfig={self.kubeconfig}", *words], stdin=stdin)


def account(layout: Layout, folder: Path, namespace: str, name: str) -> Identity:
    """A service account, by a token of ten minutes."""
    token = kubectl(layout, "-n", namespace, "create", "token", name, "--duration=10m").strip()
    return _identity(layout, folder, name, {"token": token})


def person(layout: Layout, folder: Path, name: str, group: str = "") -> Identity:
    """A person, by a certificate that the cluster's authority signed."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subject = f"/CN={name}" + (f"/O={group}" if group else "")
    authority = ["-CA", layout.pki / "ca.crt", "-CAkey", layout.pki / "ca.key"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    usage = ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"]
    run(
        [
            "openssl",
            "req",
            "-x509",
            *made,
            "-subj",
            subject,
            *authority,
            *usage,
            "-keyout",
            key,
            "-out",
            certificate,
        ]
    )
    return _identity(layout, folder, name, {"client-certificate": str(certificate), "client-key": str(key)})


def _identity(layout: Layout, folder: Path, name: str, user: dict[str, Any]) -> Identity:
    cluster = {"server": API_URL, "certificate-authority": str(layout.pki / "ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
        "current-context": "testbed",
    }
    path = folder / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return Identity(build.binary(layout.cache, "kubectl"), path)
