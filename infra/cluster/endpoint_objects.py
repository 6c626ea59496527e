"""The objects of an endpoint on Kubernetes, as plain dicts. Pure functions.

A release has a Deployment, a Service of the same name, a PodDisruptionBudget, a NetworkPolicy and, if it may
scale, a HorizontalPodAutoscaler. The endpoint has one stable Service and, behind a gateway, one HTTPRoute: these two
decide which release gets the traffic. Behind an Ingress it has that, too (`entrances`).
"""

import math
from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.cluster.endpoint_pod import PORT, pod_spec
from tidegate.infra.cluster.pods.access import AccessSpec, egress_to_issuers, with_access
from tidegate.infra.cluster.pods.policy import PodPolicy, with_policy
from tidegate.infra.cluster.pods.secrets import with_secrets
from tidegate.infra.cluster.pods.signing import with_trusted_keys
from tidegate.infra.cluster.pods.tls import HTTP, HTTPS, with_certificate

Object = dict[str, Any]
MANAGED = {"app.kubernetes.io/managed-by": "tidegate", "app.kubernetes.io/component": "endpoint"}
CPU_SHARE = 0.7  # of a replica's limit; above it the autoscaler adds a replica
IN_FLIGHT_METRIC = "tidegate_in_flight"
MAX_IN_FLIGHT = "4"  # requests in flight per replica; above it the autoscaler adds a replica


@dataclass(frozen=True)
class ReleaseSpec:
    """The values of a release that its Kubernetes objects need.

    Attributes:
        endpoint: the endpoint's name.
        number: the release's number.
        incarnation: how often the endpoint was deleted; part of every name if it is not 0.
        run: the run that produced it.
        bundle: digest of its bundle.
        image: the image of its runtime.
        fetcher: the image whose init container fetches the bundle.
        min_replicas: replicas without load.
        max_replicas: replicas under load.
        cpu: a replica's limit in cores.
        memory: a replica's memory, a Kubernetes quantity.
        processes: a replica's server processes, or auto.
        secrets: names of Secrets that the user's code in its bundle expects.
        access: who may ask.
        signed: whether a trusted key must have signed the bundle.
        policy: what the company asks of its pods.
        tls: name of the Secret with the certificate of its servers; "": they speak HTTP without TLS.
        path_prefix: which its servers take away from paths, as its Ingress cannot; "": none.
    """

    endpoint: str
    number: int
    incarnation: int
    run: str
    bundle: str
    image: str
    fetcher: str
    min_replicas: int = 1
    max_replicas: int = 1
    cpu: float = 1.0
    memory: str = "1Gi"
    processes: str = "auto"
    secrets: tuple[str, ...] = ()
    access: AccessSpec = field(default_factory=AccessSpec)
    signed: bool = False
    policy: PodPolicy = field(default_factory=PodPolicy)
    tls: str = ""
    path_prefix: str = ""

    @property
    def name(self) -> str:
        """The name of the release's objects."""
        return release_name(self.endpoint, self.number, self.incarnation)

    @property
    def key(self) -> str:
        """Incarnation and number, as a label's value."""
        return f"{self.incarnation}-{self.number}"


def release_name(endpoint: str, number: int, incarnation: int) -> str:
    """`digits-r2`; `digits-i1-r2` after the endpoint was deleted once, so that no name is used twice."""
    again = f"-i{incarnation}" if incarnation else ""
    return f"{endpoint}{again}-r{number}"


def endpoint_labels(endpoint: str) -> dict[str, str]:
    """Labels of everything that belongs to an endpoint."""
    return {**MANAGED, "tidegate.dev/endpoint": endpoint}


def release_labels(spec: ReleaseSpec) -> dict[str, str]:
    """Labels of everything that belongs to a release."""
    return {
        **endpoint_labels(spec.endpoint),
        "tidegate.dev/incarnation": str(spec.incarnation),
        "tidegate.dev/release": str(spec.number),
        "tidegate.dev/run": spec.run,
    }


def release_objects(spec: ReleaseSpec, replicas: int, in_flight: bool) -> list[Object]:
    """All objects of a release, in the order in which they are applied.

    Args:
        spec: the release.
        replicas: the number of replicas now; the autoscaler changes it later.
        in_flight: whether the cluster serves the metric of requests in flight.
    """
    scaling = [autoscaler(spec, in_flight)] if spec.max_replicas > spec.min_replicas else []
    return [
        network_policy(spec),
        service(spec),
        disruption_budget(spec),
        deployment(spec, replicas),
        *scaling,
    ]


def deployment(spec: ReleaseSpec, replicas: int) -> Object:
    """The release's own pods; they get traffic while the endpoint's Service or route selects this release."""
    return _deployment(spec, spec.name, replicas, spec.key)


def canary_deployment(spec: ReleaseSpec, replicas: int, champion: str) -> Object:
    """Pods of a release in the champion's pool: without a gateway, they get a share of its traffic.

    Args:
        spec: the canary's release.
        replicas: the number of pods; their ratio to the champion's pods is the share.
        champion: the `key` of the champion's release.
    """
    return _deployment(spec, f"{spec.name}-canary", replicas, champion)


def _deployment(spec: ReleaseSpec, name: str, replicas: int, pool: str) -> Object:
    chosen = {"tidegate.dev/deployment": name}
    labels = {**release_labels(spec), **chosen, "tidegate.dev/pool": pool}
    made = {
        **head("apps/v1", "Deployment", name, release_labels(spec)),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": chosen},
            "template": {
                "metadata": {"labels": labels},
                "spec": with_secrets(_pod(spec, chosen), 0, spec.secrets),
            },
        },
    }
    return with_policy(made, spec.policy)


def _pod(spec: ReleaseSpec, chosen: dict[str, str]) -> Object:
    pod = pod_spec(
        name=spec.endpoint,
        release=spec.number,
        bundle=spec.bundle,
        image=spec.image,
        fetcher=spec.fetcher,
        cpu=spec.cpu,
        memory=spec.memory,
        processes=spec.processes,
        spread=chosen,
        path_prefix=spec.path_prefix,
    )
    pod = with_certificate(with_access(pod, spec.access), spec.tls)
    return with_trusted_keys(pod) if spec.signed else pod


def service(spec: ReleaseSpec) -> Object:
    """The release's own Service, used by its verification and by the route."""
    return {
        **head("v1", "Service", spec.name, release_labels(spec)),
        "spec": _service_spec({"tidegate.dev/deployment": spec.name}, spec.tls),
    }


def stable_service(live: ReleaseSpec) -> Object:
    """The endpoint's Service, whose address within the cluster never changes.

    Args:
        live: the release that gets the traffic.
    """
    selector = {"tidegate.dev/endpoint": live.endpoint, "tidegate.dev/pool": live.key}
    return {
        **head("v1", "Service", live.endpoint, endpoint_labels(live.endpoint)),
        "spec": _service_spec(selector, live.tls),
    }


def autoscaler(spec: ReleaseSpec, in_flight: bool) -> Object:
    """Scales by CPU, and by requests in flight if the cluster serves that metric."""
    cores = {"type": "AverageValue", "averageValue": f"{math.ceil(spec.cpu * CPU_SHARE * 1000)}m"}
    metrics: list[Object] = [{"type": "Resource", "resource": {"name": "cpu", "target": cores}}]
    if in_flight:
        target = {"type": "AverageValue", "averageValue": MAX_IN_FLIGHT}
        pods = {"metric": {"name": IN_FLIGHT_METRIC}, "target": target}
        metrics.append({"type": "Pods", "pods": pods})
    return {
        **head("autoscaling/v2", "HorizontalPodAutoscaler", spec.name, release_labels(spec)),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name},
            "minReplicas": spec.min_replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": metrics,
        },
    }


def disruption_budget(spec: ReleaseSpec) -> Object:
    """Allows one unavailable replica: a drain goes replica by replica, and a single replica does not block it."""
    return {
        **head("policy/v1", "PodDisruptionBudget", spec.name, release_labels(spec)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {"tidegate.dev/deployment": spec.name}},
        },
    }


def network_policy(spec: ReleaseSpec) -> Object:
    """Allows requests from anywhere to the endpoint's port, and its servers to read the keys of tokens' issuers.

    The namespace's policies limit what else its pods may reach.
    """
    egress = egress_to_issuers(spec.access)
    chosen = {"tidegate.dev/endpoint": spec.endpoint, "tidegate.dev/release": str(spec.number)}
    return {
        **head("networking.k8s.io/v1", "NetworkPolicy", spec.name, release_labels(spec)),
        "spec": {
            "podSelector": {"matchLabels": chosen},
            "policyTypes": ["Ingress", "Egress"] if egress else ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
            **({"egress": egress} if egress else {}),
        },
    }


def _service_spec(selector: dict[str, str], tls: str) -> Object:
    return {
        "selector": selector,
        "ports": [{"name": HTTPS if tls else HTTP, "port": PORT, "targetPort": PORT}],
    }


def head(version: str, kind: str, name: str, labels: dict[str, str]) -> Object:
    """The beginning of an object."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}
