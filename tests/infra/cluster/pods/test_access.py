"""Who may ask an endpoint, in its pod and in the policy of its network."""

from typing import Any

import pytest

from tidegate.infra.cluster.pods.access import AccessSpec, egress_to_issuers, with_access

POD: dict[str, Any] = {
    "containers": [
        {"name": "server", "command": ["serve", "--allow-anonymous"], "env": [], "volumeMounts": []},
        {"name": "beside"},
    ],
    "volumes": [{"name": "bundle", "emptyDir": {}}],
}


def test_anybody() -> None:
    assert with_access(POD, AccessSpec(own_key="tidegate 0")) == POD
    assert egress_to_issuers(AccessSpec()) == []


def test_nobody_is_anonymous_beside_keys_or_tokens() -> None:
    for access in (AccessSpec(keys="askers"), AccessSpec(jwt="[]"), AccessSpec(keys="askers", jwt="[]")):
        server, beside = with_access(POD, access)["containers"]
        assert "--allow-anonymous" not in server["command"] and beside == {"name": "beside"}
        assert ("--keys" in server["command"]) == bool(access.keys)
        assert ("--jwt" in server["command"]) == bool(access.jwt)
    assert POD["containers"][0]["command"] == ["serve", "--allow-anonymous"]


def test_a_text_is_not_taken_for_a_variable() -> None:
    """Kubernetes replaces $(NAME) in a command, and $$(NAME) by $(NAME)."""
    server = with_access(POD, AccessSpec(jwt='[{"claims": {"$(HOME)": ["x"]}}]'))["containers"][0]
    assert server["command"][-1] == '[{"claims": {"$$(HOME)": ["x"]}}]'


def test_each_secret_is_a_file_of_one_folder() -> None:
    pod = with_access(POD, AccessSpec(jwt="[]", key_sets=("login", "partner")))
    server = pod["containers"][0]
    assert server["volumeMounts"] == [{"name": "jwks", "mountPath": "/etc/tidegate/jwks", "readOnly": True}]
    assert {"name": "TIDEGATE_SECRETS", "value": "/etc/tidegate/jwks"} in server["env"]
    files = [source["secret"]["items"][0]["path"] for source in pod["volumes"][-1]["projected"]["sources"]]
    assert files == ["login.jwks", "partner.jwks"]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://login.example.org/keys", 443),
        ("https://login.example.org:8443/keys", 8443),
        ("https://[2001:db8::1]/keys", 443),
    ],
)
def test_an_issuer_outside_is_a_port(url: str, port: int) -> None:
    (rule,) = egress_to_issuers(AccessSpec(jwt="[]", key_urls=(url, url)))
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    assert rule["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32"]  # not the node's own credentials


@pytest.mark.parametrize("host", ["sso.auth.svc", "sso.auth.svc.cluster.local:8443"])
def test_an_issuer_inside_is_a_namespace(host: str) -> None:
    (rule,) = egress_to_issuers(AccessSpec(jwt="[]", key_urls=(f"https://{host}/keys",)))
    named = {"kubernetes.io/metadata.name": "auth"}
    assert rule == {"to": [{"namespaceSelector": {"matchLabels": named}}]}
