"""How requests from outside reach an endpoint: an HTTPRoute of a Gateway, or an Ingress. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.cluster.endpoint_objects import endpoint_labels, head
from tidegate.infra.cluster.endpoint_pod import PORT

Object = dict[str, Any]
EACH = "{endpoint}"  # in an Ingress' host: each endpoint has a host of its own


@dataclass(frozen=True)
class Gateway:
    """A Gateway object."""

    name: str
    namespace: str


@dataclass(frozen=True)
class IngressRule:
    """What an endpoint's Ingress says.

    Attributes:
        host: the host of all endpoints, which are below it by their names; with `{endpoint}` in it, each has its own.
        ingress_class: the IngressClass' name; "": the cluster's default.
        annotations: for its controller.
        tls_secret: the Secret with the host's certificate; "": none.
    """

    host: str
    ingress_class: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    tls_secret: str = ""

    def host_of(self, endpoint: str) -> str:
        """The host of an endpoint."""
        return self.host.replace(EACH, endpoint)

    def prefix_of(self, endpoint: str) -> str:
        """What its paths begin with; an Ingress cannot take it away, so that the servers do. "" for none."""
        return "" if EACH in self.host else f"/{endpoint}"


def route(endpoint: str, gateway: Gateway, weights: dict[str, int]) -> Object:
    """The endpoint's route: the gateway's URL with the prefix `/ENDPOINT`, which is removed before the servers.

    Args:
        endpoint: the endpoint's name.
        gateway: its parent.
        weights: release name -> percent of the requests.
    """
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    backends = [{"name": name, "port": PORT, "weight": weight} for name, weight in weights.items()]
    return {
        **head("gateway.networking.k8s.io/v1", "HTTPRoute", endpoint, endpoint_labels(endpoint)),
        "spec": {
            "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": f"/{endpoint}"}}],
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"path": rewrite}}],
                    "backendRefs": backends,
                }
            ],
        },
    }


def ingress(endpoint: str, rule: IngressRule) -> Object:
    """The endpoint's Ingress. It always leads to the stable Service, which selects the release that is live."""
    made = head("networking.k8s.io/v1", "Ingress", endpoint, endpoint_labels(endpoint))
    if rule.annotations:
        made["metadata"]["annotations"] = dict(rule.annotations)
    host = rule.host_of(endpoint)
    backend = {"service": {"name": endpoint, "port": {"number": PORT}}}
    path = {"path": rule.prefix_of(endpoint) or "/", "pathType": "Prefix", "backend": backend}
    return {
        **made,
        "spec": {
            **({"ingressClassName": rule.ingress_class} if rule.ingress_class else {}),
            **({"tls": [{"hosts": [host], "secretName": rule.tls_secret}]} if rule.tls_secret else {}),
            "rules": [{"host": host, "http": {"paths": [path]}}],
        },
    }
