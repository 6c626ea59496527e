"""The objects of an endpoint: what they say, and what the API server would hold against them."""

from typing import Any

import pytest

from tidegate.infra.cluster.endpoint_objects import (
    ReleaseSpec,
    autoscaler,
    canary_deployment,
    deployment,
    network_policy,
    release_name,
    release_objects,
    service,
    stable_service,
)
from tidegate.infra.cluster.endpoint_pod import DRAIN_S, PRE_STOP_S
from tidegate.infra.cluster.entrances import Gateway, IngressRule, ingress, route
from tidegate.infra.cluster.pods.tls import scheme_of

Object = dict[str, Any]


def make(**more: Any) -> ReleaseSpec:
    given = {
        "endpoint": "digits",
        "number": 2,
        "incarnation": 0,
        "run": "digits-1a2b3c4d",
        "bundle": "ab" * 32,
        "image": "r/serve-onnx:1",
        "fetcher": "r/driver:1",
    }
    return ReleaseSpec(**{**given, **more})


def pod_of(obj: Object) -> Object:
    return dict(obj["spec"]["template"]["spec"])


def test_a_signed_release_is_checked_before_its_server_starts() -> None:
    plain, asked = pod_of(deployment(make(), 1)), pod_of(deployment(make(signed=True), 1))
    variable = {"name": "TIDEGATE_TRUSTED_KEYS", "value": "/etc/tidegate/trusted"}
    assert variable in asked["initContainers"][0]["env"]
    assert variable not in plain["initContainers"][0]["env"]
    assert {"name": "trusted", "configMap": {"name": "tidegate-trusted"}} in asked["volumes"]
    assert asked["containers"] == plain["containers"]  # its image has no library for it
    assert not any("secret" in one and one["name"] != "store" for one in asked["volumes"])


@pytest.mark.parametrize(("incarnation", "name"), [(0, "digits-r2"), (3, "digits-i3-r2")])
def test_a_name_is_never_used_again_after_delete(incarnation: int, name: str) -> None:
    assert release_name("digits", 2, incarnation) == name
    assert {obj["metadata"]["name"] for obj in release_objects(make(incarnation=incarnation), 1, False)} == {
        name
    }


def test_the_longest_name_fits() -> None:
    assert len(release_name("e" * 40, 9999, 999)) + len("-canary") <= 63


def test_every_object_can_be_found_by_its_labels() -> None:
    for obj in [*release_objects(make(max_replicas=3), 1, True), canary_deployment(make(), 1, "0-1")]:
        labels = obj["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "tidegate"
        assert (labels["tidegate.dev/endpoint"], labels["tidegate.dev/release"]) == ("digits", "2")
        assert labels["tidegate.dev/run"] == "digits-1a2b3c4d"
    entrances = (
        route("digits", Gateway("g", "n"), {"digits-r2": 100}),
        ingress("digits", IngressRule("h.example")),
    )
    for obj in (stable_service(make()), *entrances):
        assert obj["metadata"]["labels"]["tidegate.dev/endpoint"] == "digits"
        assert "tidegate.dev/release" not in obj["metadata"]["labels"]


def test_services_choose_the_pods_they_are_for() -> None:
    labels = deployment(make(), 1)["spec"]["template"]["metadata"]["labels"]
    canary = canary_deployment(make(number=3), 1, make().key)["spec"]["template"]["metadata"]["labels"]

    def chosen(selector: dict[str, str], among: dict[str, str]) -> bool:
        return selector.items() <= among.items()

    live = stable_service(make())["spec"]["selector"]
    own, canarys = service(make())["spec"]["selector"], service(make(number=3))["spec"]["selector"]
    assert [chosen(live, known) for known in (labels, canary)] == [True, True]  # the canary is in its pool
    assert [chosen(own, known) for known in (labels, canary)] == [True, False]
    assert [chosen(canarys, known) for known in (labels, canary)] == [False, False]
    waiting = deployment(make(number=3), 1)["spec"]["template"]["metadata"]["labels"]
    assert not chosen(live, waiting)


def test_the_restricted_pod_security_standard_is_met() -> None:
    pod = pod_of(deployment(make(), 1))
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["initContainers"], *pod["containers"]]:
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False


def test_only_the_fetch_has_the_stores_credentials() -> None:
    pod = pod_of(deployment(make(), 1))
    mounts = {
        container["name"]: {mount["name"] for mount in container["volumeMounts"]}
        for container in [*pod["initContainers"], *pod["containers"]]
    }
    assert "store" in mounts["bundle"]
    assert "store" not in mounts["server"]
    assert "envFrom" not in pod["containers"][0]


def test_no_replica_goes_before_another_has_come_and_all_requests_are_answered() -> None:
    obj = deployment(make(), 2)
    pod = pod_of(obj)
    assert obj["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == PRE_STOP_S
    assert pod["terminationGracePeriodSeconds"] > PRE_STOP_S + DRAIN_S


@pytest.mark.parametrize(
    ("cpu", "reserved", "limit"), [(1.0, "250m", "1000m"), (0.001, "1m", "1m"), (2.5, "625m", "2500m")]
)
def test_a_quarter_of_the_cores_is_set_aside(cpu: float, reserved: str, limit: str) -> None:
    resources = pod_of(deployment(make(cpu=cpu), 1))["containers"][0]["resources"]
    assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == (reserved, limit)
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_there_is_an_autoscaler_only_where_there_is_room() -> None:
    kinds = [[obj["kind"] for obj in release_objects(make(max_replicas=most), 1, False)] for most in (1, 4)]
    assert ["HorizontalPodAutoscaler" in known for known in kinds] == [False, True]
    metrics = [len(autoscaler(make(max_replicas=4), known)["spec"]["metrics"]) for known in (False, True)]
    assert metrics == [1, 2]


def test_a_route_takes_the_prefix_away_and_has_the_weights() -> None:
    gateway = Gateway("gate", "web")
    rule = route("digits", gateway, {"digits-r1": 90, "digits-r2": 10})["spec"]["rules"][0]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/digits"}}]
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/"
    assert [(known["name"], known["weight"]) for known in rule["backendRefs"]] == [
        ("digits-r1", 90),
        ("digits-r2", 10),
    ]


def test_the_policy_opens_one_port_and_nothing_else() -> None:
    spec = network_policy(make())["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 3000}]}]


def test_an_ingress_leads_to_the_stable_service() -> None:
    shared = ingress("digits", IngressRule("models.example", "nginx", {"a/b": "c"}, "models-tls"))
    assert shared["metadata"]["annotations"] == {"a/b": "c"}
    assert shared["spec"]["tls"] == [{"hosts": ["models.example"], "secretName": "models-tls"}]
    (rule,) = shared["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("models.example", "/digits", "Prefix")
    assert path["backend"] == {"service": {"name": "digits", "port": {"number": 3000}}}
    own = ingress("digits", IngressRule("{endpoint}.example"))["spec"]
    assert (own["rules"][0]["host"], own["rules"][0]["http"]["paths"][0]["path"]) == ("digits.example", "/")
    assert not {"tls", "ingressClassName"} & own.keys()
    assert "--path-prefix" not in pod_of(deployment(make(), 1))["containers"][0]["command"]
    command = pod_of(deployment(make(path_prefix="/digits"), 1))["containers"][0]["command"]
    assert command[-3:-1] == ["--path-prefix", "/digits"]


def test_a_server_with_a_certificate_is_asked_over_tls_everywhere() -> None:
    plain, pod = pod_of(deployment(make(), 1)), pod_of(deployment(make(tls="shown"), 1))
    server = pod["containers"][0]
    assert server["command"][-4:] == [
        "--tls-cert",
        "/etc/tidegate/tls/tls.crt",
        "--tls-key",
        "/etc/tidegate/tls/tls.key",
    ]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["scheme"] == "HTTPS"
        assert "scheme" not in plain["containers"][0][probe]["httpGet"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == "tls"]
    assert volume["secret"]["secretName"] == "shown"
    assert [item["key"] for item in volume["secret"]["items"]] == ["tls.crt", "tls.key"]
    assert [scheme_of({"spec": one}) for one in (plain, pod)] == ["http", "https"]
    for make_service in (service, stable_service):
        names = [make_service(make(tls=secret))["spec"]["ports"][0]["name"] for secret in ("", "shown")]
        assert names == ["http", "https"]
