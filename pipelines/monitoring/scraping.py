"""Where Prometheus finds the servers of endpoints: its own configuration, and the operator's objects."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.infra.cluster.endpoint_objects import MANAGED, endpoint_labels
from tidegate.infra.cluster.pods.tls import HTTP, HTTPS
from tidegate.pipelines.monitoring.dashboard import UID
from tidegate.serving.deployment.connections import Trust

JOB = "tidegate"
INTERVAL = "15s"
NAME = "tidegate-endpoints"
AUTHORITY = f"{NAME}-ca"


def scrape_here(addresses: Iterable[str]) -> dict[str, Any]:
    """A part of Prometheus' configuration for servers of this machine.

    Args:
        addresses: HOST:PORT of each endpoint.
    """
    return _scraped({"static_configs": [{"targets": sorted(addresses)}]})


def scrape_pods(namespace: str, trusts: Mapping[str, Trust] | None = None) -> dict[str, Any]:
    """A part of Prometheus' configuration for the replicas in a namespace; Prometheus may list its pods.

    Args:
        namespace: of the endpoints.
        trusts: by endpoint, the certificate that it shows: each has a job of its own. None: they have none.
    """
    if trusts is None:
        return _scraped(_pods(namespace, MANAGED, HTTP))
    # A replica is asked at its own address, for which no certificate is.
    jobs = []
    for name, trust in trusts.items():
        tls = {"server_name": trust.name} | ({"ca": trust.authority} if trust.authority else {})
        places = _pods(namespace, endpoint_labels(name), HTTPS)
        places["relabel_configs"].append({"target_label": "job", "replacement": JOB})
        jobs += _scraped({"scheme": HTTPS, "tls_config": tls, **places}, f"{JOB}-{name}")["scrape_configs"]
    return {"scrape_configs": jobs}


def _pods(namespace: str, labels: Mapping[str, str], port_name: str) -> dict[str, Any]:
    chosen = ",".join(f"{name}={value}" for name, value in labels.items())
    place = {
        "role": "pod",
        "namespaces": {"names": [namespace]},
        "selectors": [{"role": "pod", "label": chosen}],
    }
    names = ["__meta_kubernetes_pod_container_port_name"]
    port = {"source_labels": names, "regex": port_name, "action": "keep"}
    pod = {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}
    return {"kubernetes_sd_configs": [place], "relabel_configs": [port, pod]}


def _scraped(places: dict[str, Any], job: str = JOB) -> dict[str, Any]:
    return {"scrape_configs": [{"job_name": job, "scrape_interval": INTERVAL, **places}]}


def operator_objects(
    namespace: str,
    groups: dict[str, Any],
    dashboard: dict[str, Any],
    trusts: Mapping[str, Trust] | None = None,
) -> list[dict[str, Any]]:
    """The same for the Prometheus operator, and the dashboard for Grafana's sidecar.

    Args:
        namespace: of the endpoints.
        groups: of `alert_groups`.
        dashboard: of `dashboard`.
        trusts: see `scrape_pods`.
    """
    return [
        *_monitors(namespace, trusts),
        {**_head("monitoring.coreos.com/v1", "PrometheusRule", namespace), "spec": groups},
        {
            **_head("v1", "ConfigMap", namespace, {"grafana_dashboard": "1"}),
            "data": {f"{UID}.json": json.dumps(dashboard, indent=1)},
        },
    ]


def _monitors(namespace: str, trusts: Mapping[str, Trust] | None) -> list[dict[str, Any]]:
    """What the operator scrapes, and the authority that issued the certificates there."""
    if trusts is None:
        return [_monitor(namespace, NAME, MANAGED, {"port": HTTP})]
    found = []
    for name, trust in trusts.items():
        tls: dict[str, Any] = {"serverName": trust.name}
        if trust.authority:
            tls["ca"] = {"configMap": {"name": AUTHORITY, "key": "ca.crt"}}
        place = {"port": HTTPS, "scheme": HTTPS, "tlsConfig": tls}
        found.append(_monitor(namespace, f"{NAME}-{name}", endpoint_labels(name), place))
    authority = next((trust.authority for trust in trusts.values()), "")
    if authority:
        found.append({**_head("v1", "ConfigMap", namespace, name=AUTHORITY), "data": {"ca.crt": authority}})
    return found


def _monitor(namespace: str, name: str, labels: Mapping[str, str], place: dict[str, Any]) -> dict[str, Any]:
    # The operator gives every target a label `endpoint`, its port's name, which would take the place of ours.
    ours = {"action": "labeldrop", "regex": "endpoint"}
    asked = {**place, "path": "/metrics", "interval": INTERVAL, "relabelings": [ours]}
    spec = {"selector": {"matchLabels": dict(labels)}, "podMetricsEndpoints": [asked]}
    return {**_head("monitoring.coreos.com/v1", "PodMonitor", namespace, name=name), "spec": spec}


def _head(
    version: str, kind: str, namespace: str, labels: dict[str, str] | None = None, name: str = NAME
) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace, "labels": {**MANAGED, **(labels or {})}}
    return {"apiVersion": version, "kind": kind, "metadata": about}
