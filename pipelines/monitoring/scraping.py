"""Where Prometheus finds the servers of endpoints: its own configuration, and the operator's objects."""

import json
from collections.abc import Iterable
from typing import Any

from tidegate.infra.cluster.endpoint_objects import MANAGED
from tidegate.pipelines.monitoring.dashboard import UID

JOB = "tidegate"
INTERVAL = "15s"
NAME = "tidegate-endpoints"


def scrape_here(addresses: Iterable[str]) -> dict[str, Any]:
    """A part of Prometheus' configuration for servers of this machine.

    Args:
        addresses: HOST:PORT of each endpoint.
    """
    return _scraped({"static_configs": [{"targets": sorted(addresses)}]})


def scrape_pods(namespace: str) -> dict[str, Any]:
    """A part of Prometheus' configuration for the replicas in a namespace; Prometheus may list its pods."""
    chosen = ",".join(f"{name}={value}" for name, value in MANAGED.items())
    place = {
        "role": "pod",
        "namespaces": {"names": [namespace]},
        "selectors": [{"role": "pod", "label": chosen}],
    }
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"}
    pod = {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}
    return _scraped({"kubernetes_sd_configs": [place], "relabel_configs": [port, pod]})


def _scraped(places: dict[str, Any]) -> dict[str, Any]:
    return {"scrape_configs": [{"job_name": JOB, "scrape_interval": INTERVAL, **places}]}


def operator_objects(
    namespace: str, groups: dict[str, Any], dashboard: dict[str, Any]
) -> list[dict[str, Any]]:
    """The same for the Prometheus operator, and the dashboard for Grafana's sidecar.

    Args:
        namespace: of the endpoints.
        groups: of `alert_groups`.
        dashboard: of `dashboard`.
    """
    # The operator gives every target a label `endpoint`, its port's name, which would take the place of ours.
    ours = {"action": "labeldrop", "regex": "endpoint"}
    endpoints = {"port": "http", "path": "/metrics", "interval": INTERVAL, "relabelings": [ours]}
    pods = {"selector": {"matchLabels": MANAGED}, "podMetricsEndpoints": [endpoints]}
    return [
        {**_head("monitoring.coreos.com/v1", "PodMonitor", namespace), "spec": pods},
        {**_head("monitoring.coreos.com/v1", "PrometheusRule", namespace), "spec": groups},
        {
            **_head("v1", "ConfigMap", namespace, {"grafana_dashboard": "1"}),
            "data": {f"{UID}.json": json.dumps(dashboard, indent=1)},
        },
    ]


def _head(version: str, kind: str, namespace: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    about = {"name": NAME, "namespace": namespace, "labels": {**MANAGED, **(labels or {})}}
    return {"apiVersion": version, "kind": kind, "metadata": about}
