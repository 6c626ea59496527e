"""The text of the cluster's side: what a reviewer would look for, in files and before any cluster is asked.

That kustomize builds it and an API server takes it is tested in tests/cluster.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[3] / "infra" / "manifests"
OVERLAYS = ("testbed", "production", "identity")
COMPONENTS = tuple(f"components/{name}" for name in ("identity", "token-service-eks", "token-service-gke"))
MANAGED = {
    ("batch", "jobs"),
    ("apps", "deployments"),
    ("", "services"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("networking.k8s.io", "networkpolicies"),
    ("gateway.networking.k8s.io", "httproutes"),
    ("networking.k8s.io", "ingresses"),
    ("coordination.k8s.io", "leases"),
}
READ = {("", "pods"), ("", "pods/log"), ("", "events")}
Object = dict[str, Any]


def documents(folder: str) -> list[Object]:
    files = sorted((MANIFESTS / folder).glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return [one for one in found if one["kind"] != "Kustomization"]


def named(folder: str, kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in documents(folder) if one["kind"] == kind}


def pods() -> dict[str, Object]:
    """The pods of the base, by whose they are."""
    base = {f"{one['kind']} {one['metadata']['name']}": one for one in documents("base")}
    cron = base["CronJob mlflow-backup"]["spec"]["jobTemplate"]
    owners = {
        "mlflow": base["Deployment mlflow"],
        "mlflow-db": base["StatefulSet mlflow-db"],
        "mlflow-backup": cron,
        "scheduler": base["Deployment tidegate-scheduler"],
    }
    return {name: owner["spec"]["template"] for name, owner in owners.items()}


def test_every_file_is_named_in_its_kustomization() -> None:
    for folder in ("base", *(f"overlays/{name}" for name in OVERLAYS), *COMPONENTS):
        path = MANIFESTS / folder
        kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
        patches = [patch["path"] for patch in kustomization.get("patches", [])]
        listed = [*kustomization.get("resources", []), *patches]
        there = {file.name for file in path.glob("*.yaml")} - {"kustomization.yaml"}
        assert there == {name for name in listed if not name.startswith("..")}


def test_no_secret_is_committed() -> None:
    folders = ("base", *(f"overlays/{name}" for name in OVERLAYS))
    assert not [one for folder in folders for one in documents(folder) if one["kind"] == "Secret"]


def test_the_namespace_takes_restricted_pods_only() -> None:
    labels = named("base", "Namespace")["tidegate"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", ["mlflow", "mlflow-db", "mlflow-backup", "scheduler"])
def test_pods_are_restricted_and_bounded(name: str) -> None:
    pod = pods()[name]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == name
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert not [one for one in container.get("env", []) if "secretKeyRef" in one.get("valueFrom", {})]


def test_servers_have_all_three_probes() -> None:
    for name in ("mlflow", "mlflow-db"):
        (container,) = pods()[name]["spec"]["containers"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def granted_by(role: str) -> dict[tuple[str, str], set[str]]:
    """The verbs of each resource."""
    return {
        (group, resource): set(rule["verbs"])
        for rule in named("base", "Role")[role]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_scheduler_starts_drivers_and_no_more() -> None:
    granted = granted_by("tidegate-scheduler")
    assert granted == {("batch", "jobs"): {"get", "create", "delete"}, ("", "pods"): {"get", "list"}}
    spec = named("base", "Deployment")["tidegate-scheduler"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert spec["template"]["spec"]["serviceAccountName"] == "tidegate-scheduler"
    assert "livenessProbe" in spec["template"]["spec"]["containers"][0]


def test_the_driver_has_the_least_role() -> None:
    granted = granted_by("tidegate-driver")
    manage = {"get", "list", "watch", "create", "patch", "delete"}
    assert {what for what, verbs in granted.items() if verbs == manage} == MANAGED
    assert {what for what, verbs in granted.items() if verbs <= {"get", "list", "watch"}} == READ
    assert granted.keys() == MANAGED | READ


def test_nothing_is_granted_beyond_the_namespace() -> None:
    kinds = {one["kind"] for one in documents("base")}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    accounts = named("base", "ServiceAccount")
    tokens = [name for name, one in accounts.items() if one["automountServiceAccountToken"]]
    assert tokens == ["tidegate-driver", "tidegate-scheduler"]
    subjects = [subject for one in named("base", "RoleBinding").values() for subject in one["subjects"]]
    known = {"tidegate-driver", "tidegate-scheduler", "tidegate-users"}
    assert {subject["name"] for subject in subjects} == known


def doors(folder: str) -> dict[str, str]:
    """Each policy in a line: whose pods, then each way in and out with its ports."""
    return {name: _line(one["spec"]) for name, one in named(folder, "NetworkPolicy").items()}


def _line(spec: Object) -> str:
    words = [_pods(spec["podSelector"])]
    for way, kind, peers in (("in", "Ingress", "from"), ("out", "Egress", "to")):
        rules = spec.get(kind.lower(), [])
        for rule in rules:
            ports = ",".join(str(port["port"]) for port in rule.get("ports", [{"port": "any"}]))
            words.append(f"{way} {' or '.join(map(_peer, rule[peers]))}:{ports}")
        words += [f"nothing {way}"] if kind in spec["policyTypes"] and not rules else []
    return "; ".join(words)


def _pods(selector: Object) -> str:
    words = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for one in selector.get("matchExpressions", []):
        words += [" ".join([one["key"], one["operator"], *one.get("values", [])])]
    return ",".join(words).replace("app.kubernetes.io/", "").replace("tidegate.dev/", "") or "all"


def _peer(peer: Object) -> str:
    if "ipBlock" in peer:
        return str(peer["ipBlock"]["cidr"])
    parts = [_pods(peer[key]) for key in ("namespaceSelector", "podSelector") if key in peer]
    return " ".join(parts)


def test_within_the_namespace_only_these_talk() -> None:
    assert doors("base") == {
        "default-deny": "all; nothing in; nothing out",
        "driver-to-endpoints": "component In driver scheduler; out endpoint Exists:3000",
        "endpoints-from-driver": "endpoint Exists; in component In driver scheduler or client=true:3000",
        "members-to-members": "members Exists; in members Exists:any; out members Exists:any",
        "runs-to-mlflow": "step Exists; out component=mlflow:5000",
        "mlflow": "component=mlflow; in step Exists:5000; out component=mlflow-db:5432",
        "mlflow-db": "component=mlflow-db; in component In mlflow mlflow-backup:5432",
        "backup-to-mlflow-db": "component=mlflow-backup; out component=mlflow-db:5432",
    }


def test_the_doors_to_the_outside() -> None:
    node = "10.244.0.1/32"
    assert doors("overlays/testbed") == {
        "to-dns": f"all; out {node}:53,53",
        "driver-to-api-server": f"component In driver scheduler; out {node}:6443",
        "to-store": "component NotIn mlflow-db; out kubernetes.io/metadata.name=testbed app=s3:9000",
        "endpoints-from-gateway": f"endpoint Exists; in {node}:3000",
        "mlflow-from-people": f"component=mlflow; in {node}:5000",
    }
    assert doors("overlays/production").keys() == doors("overlays/testbed").keys()


def test_the_doors_to_a_token_service() -> None:
    assert doors("components/token-service-eks") == {
        "to-token-service": "component NotIn mlflow-db; out 169.254.170.23/32:80"
    }
    assert doors("components/token-service-gke") == {
        "to-token-service": "component NotIn mlflow-db; out 169.254.169.252/32:988; out 169.254.169.254/32:80"
    }


def test_with_identity_nothing_but_the_store_secret_goes() -> None:
    """Each patch takes away all that names the Secret in the base, and nothing else."""
    for file, kind in (("mlflow", "Deployment"), ("backup", "CronJob"), ("scheduler", "Deployment")):
        patch = yaml.safe_load((MANIFESTS / "components/identity" / f"{file}.yaml").read_text())
        base = named("base", kind)[patch["metadata"]["name"]]
        own, changed = _pod_spec(base), _pod_spec(patch)
        assert changed["volumes"] == [{"name": "store", "$patch": "delete"}]
        assert [one["secret"]["secretName"] for one in own["volumes"] if one["name"] == "store"] == [
            "tidegate-store"
        ]
        (container,) = changed["containers"]
        (before,) = (one for one in own["containers"] if one["name"] == container["name"])
        (place,) = (one["mountPath"] for one in before["volumeMounts"] if one["name"] == "store")
        assert container["volumeMounts"] == [{"mountPath": place, "$patch": "delete"}]
        variables = [one["name"] for one in before["env"] if str(one.get("value", "")).startswith(place)]
        assert container["env"] == [{"name": name, "$patch": "delete"} for name in variables]


def _pod_spec(owner: Object) -> Object:
    spec: Object = owner["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    found: Object = template["spec"]
    return found
