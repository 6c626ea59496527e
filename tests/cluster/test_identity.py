"""A pod without any key: the kubelet gives it its service account's token, and that the role which opens the store."""

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from tests.aws_server import BUCKET, aws
from tidegate.infra.cluster.api import Cluster
from tidegate.infra.testbed.host.layout import NODE_IP, Layout
from tidegate.infra.testbed.images import ours
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.commands.checking.pod import check_pod
from tidegate.pipelines.state.targets import Target

from .namespace import remove_namespace

pytestmark = pytest.mark.cluster
ROLE, AUDIENCE = "arn:aws:iam::123456789012:role/tidegate", "sts.amazonaws.com"


def make_namespace(layout: Layout, name: str, endpoint: str, folder: Path) -> None:
    """A namespace with settings and a step's account, and no Secret."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    settings = {
        "TIDEGATE_STORE": f"s3://{BUCKET}/{name}",
        "TIDEGATE_S3_ENDPOINT": endpoint,
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    }
    own: dict[str, Any] = {"namespace": name}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": own | {"name": "tidegate-step"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": own | {"name": "tidegate"}, "data": settings},
    ]
    file = folder / "namespace.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl(layout, "apply", "-f", str(file))


def test_a_role_opens_the_store_by_the_accounts_token(
    installed: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(installed.kubeconfig))
    name = f"identity-{secrets.token_hex(4)}"
    with aws(tmp_path, NODE_IP) as gate:
        variables = {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/tokens/token",
            "AWS_ENDPOINT_URL_STS": gate.url,
            "AWS_REGION": "us-east-1",
        }
        document = {
            "name": "testbed",
            "namespace": name,
            "store": {"url": f"s3://{BUCKET}/{name}", "endpoint": gate.url, "credentials": "identity"},
            "mlflow": "http://127.0.0.1:1",
            "images": ours.PREFIX,
            "pods": {
                "env": variables,
                "volumes": [{"name": "aws", "path": "/tokens", "token": AUDIENCE}],
            },
        }
        make_namespace(installed, name, gate.url, tmp_path)
        try:
            items = check_pod(Cluster("testbed", name), Target.model_validate(document))
            found = {one["name"]: one for one in items}
            assert found["a pod"]["ok"], items
            assert found["store, from a pod"]["ok"], items
            shown = {token for role, token in gate.asked if role == ROLE}
            assert shown and gate.refused == 0
            for token in shown:
                told = claims(installed, token)
                assert told["sub"] == f"system:serviceaccount:{name}:tidegate-step"
                assert told["aud"] == [AUDIENCE]
        finally:
            remove_namespace(installed, name)


def claims(layout: Layout, token: str) -> dict[str, Any]:
    """What a token says, whose signature is the cluster's: its pod is gone, so that the cluster itself refuses it."""
    signed, _, signature = token.rpartition(".")
    key = serialization.load_pem_public_key((layout.pki / "service-accounts.pub").read_bytes())
    assert isinstance(key, RSAPublicKey)
    key.verify(decoded(signature), signed.encode(), PKCS1v15(), SHA256())
    found: dict[str, Any] = json.loads(decoded(signed.partition(".")[2]))
    return found


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
