"""Whether a target is ready, item by item: the cluster, what is installed in it, the store, MLflow.

Nothing here waits long: what does not answer is reported, with its fix. What this user may not read is reported as
such, and is not a failure. Secrets are never read: a pod that mounts them shows whether they exist.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.capacity import gateway_problem, gpus, images_on, quota_lines
from tidegate.infra.cluster.images import NAMES, image
from tidegate.infra.errors import ClusterError, ForbiddenError, NotFoundError, StoreError
from tidegate.pipelines.commands.checking.permissions import ENTRANCES, check_accounts, check_rights
from tidegate.pipelines.commands.checking.pod import check_pod
from tidegate.pipelines.commands.checking.reachability import check_mlflow, check_store
from tidegate.pipelines.commands.provenance.signing import MAKE
from tidegate.pipelines.commands.schedules.keeper import check_cluster_scheduler
from tidegate.pipelines.commands.schedules.scheduler import NAME as SCHEDULER
from tidegate.pipelines.result import item
from tidegate.pipelines.signing.keys import current
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Gateway, Ingress, Target

PATIENCE_S = 5.0
ANSWER_S = 5.0
MIN_VERSION = (1, 31)  # Jobs' podFailurePolicy and podReplacementPolicy, CronJobs, restricted pods
APPLY = "kubectl apply -k infra/manifests/overlays/… (an administrator)"
LABEL = "pod-security.kubernetes.io/enforce"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
Item = dict[str, Any]


def check_target(home: Home) -> list[Item]:
    """Every item, in the order in which they are best fixed."""
    target = home.target
    assert target is not None, "the local target has its own items"
    items = list(_cluster_items(target))
    store = check_store(target.store.url, target.store.endpoint)
    items += [store, check_mlflow()]
    if store["ok"] and _is_there(items):
        items.append(_checked(SCHEDULER, lambda: _scheduler(home, target)))
        items.append(_checked("signing", lambda: _signing(home, target)))
    return items


def _is_there(items: list[Item]) -> bool:
    """Whether the namespace can be asked: what it lacks is said already."""
    return any(one["name"] == "namespace" and one["ok"] for one in items)


def _signing(home: Home, target: Target) -> Item:
    """No key is no error: releases are then not signed, as they say."""
    key = current(home)
    said = f"key {key.id} signs releases" if key else f"releases are not signed; {MAKE.format(target.name)}"
    return item("signing", True, said)


def _scheduler(home: Home, target: Target) -> Item:
    return check_cluster_scheduler(home, Cluster(target.context, target.namespace, patience_s=PATIENCE_S))


def _cluster_items(target: Target) -> Iterator[Item]:
    """The items that the API server answers; the others are left out when the first ones fail."""
    try:
        cluster = Cluster(target.context, target.namespace, patience_s=PATIENCE_S)
        version = cluster.raw("/version")
    except ClusterError as error:
        yield item("cluster", False, str(error), "see the message")
        return
    yield _version(version)
    namespace = _checked("namespace", lambda: _namespace(cluster))
    yield namespace
    if not namespace["ok"]:
        return
    yield _checked("pod security", lambda: _security(cluster))
    entrances = [name for name in ENTRANCES if getattr(target, name) is not None]
    yield from check_rights(cluster, entrances=entrances)
    yield _checked("service accounts", lambda: check_accounts(cluster))
    yield _checked("settings", lambda: _settings(cluster, target))
    yield _checked("quota", lambda: _quota(cluster))
    yield _checked("gpus", lambda: _gpus(cluster))
    yield _checked("images", lambda: _images(cluster, target))
    if target.gateway is not None:
        gateway = target.gateway
        yield _checked("gateway", lambda: _gateway(target, gateway))
        yield _address("gateway", gateway.url, "url")
    if target.ingress is not None:
        entrance = target.ingress
        yield _checked("ingress", lambda: _ingress(cluster, entrance))
        yield _address("ingress", entrance.url("tidegate-check"), "host")
    yield from check_pod(cluster, target, () if target.tls is None else [target.tls.secret])


def _checked(name: str, check: Callable[[], Item]) -> Item:
    """An item; what this user may not read is reported as such, and is not a failure."""
    try:
        return check()
    except ForbiddenError:
        return item(name, True, "cannot be told: you may not look at it")
    except (ClusterError, StoreError) as error:
        return item(name, False, str(error), "see the message")


def _version(version: dict[str, Any]) -> Item:
    digits = ("".join(filter(str.isdigit, str(version[part]))) for part in ("major", "minor"))
    found = tuple(int(part or 0) for part in digits)
    minimum = ".".join(map(str, MIN_VERSION))
    return item(
        "cluster", found >= MIN_VERSION, str(version["gitVersion"]), f"use Kubernetes {minimum} or newer"
    )


def _namespace(cluster: Cluster) -> Item:
    there = cluster.get("Namespace", cluster.namespace) is not None
    detail = cluster.namespace if there else f"there is no namespace {cluster.namespace}"
    return item("namespace", there, detail, f"{APPLY}, or correct `namespace` in targets.yaml")


def _security(cluster: Cluster) -> Item:
    found = cluster.get("Namespace", cluster.namespace) or {"metadata": {}}
    level = found["metadata"].get("labels", {}).get(LABEL, "")
    fix = f"kubectl label namespace {cluster.namespace} {LABEL}=restricted"
    return item("pod security", level == "restricted", level or "not enforced", fix)


def _settings(cluster: Cluster, target: Target) -> Item:
    found = cluster.get("ConfigMap", "tidegate")
    if found is None:
        return item("settings", False, "there is no ConfigMap tidegate", APPLY)
    store = found.get("data", {}).get("TIDEGATE_STORE", "").rstrip("/")
    if store == target.store.url.rstrip("/"):
        return item("settings", True, f"ConfigMap tidegate, store {store}")
    detail = f"pods use the store {store or '(none)'}, this target uses {target.store.url}"
    return item("settings", False, detail, "make TIDEGATE_STORE (ConfigMap tidegate) and targets.yaml agree")


def _quota(cluster: Cluster) -> Item:
    lines, full = quota_lines(cluster.list("ResourceQuota"))
    detail = f"full: {', '.join(full)}" if full else ", ".join(lines) or "none"
    return item("quota", not full, detail, "wait until something ends, or raise the ResourceQuota")


def _gpus(cluster: Cluster) -> Item:
    """A missing GPU is not an error: only an experiment that asks for one needs it."""
    found = gpus(cluster.list("Node"))
    detail = ", ".join(f"{number} {name}" for name, number in found.items())
    return item("gpus", True, detail or "no node offers any; resources.gpus must be 0")


def _images(cluster: Cluster, target: Target) -> Item:
    """An image that no node has is pulled; one of `localhost` cannot be."""
    there = images_on(cluster.list("Node"))
    wanted = {name: image(target.images, name) for name in NAMES}
    missing = [name for name, full in wanted.items() if full not in there]
    tag = wanted["driver"].rpartition(":")[2]
    state = f"not on a node: {', '.join(missing)}" if missing else "on a node"
    pulled = not target.images.startswith("localhost/")
    fix = "build this code's images: make images, on the testbed make cluster-images"
    return item("images", pulled or not missing, f"{target.images}/…:{tag}, {state}", fix)


def _gateway(target: Target, gateway: Gateway) -> Item:
    where = f"{gateway.namespace}/{gateway.name}"
    fix = "correct `gateway` in targets.yaml, or see: kubectl describe gateway"
    try:
        found = Cluster(target.context, gateway.namespace, patience_s=PATIENCE_S).get("Gateway", gateway.name)
    except NotFoundError:
        found = None
    if found is None:
        return item("gateway", False, f"there is no Gateway {where}", fix)
    trouble = gateway_problem(found, target.namespace)
    return item("gateway", not trouble, f"{where}: {trouble}" if trouble else where, fix)


def _ingress(cluster: Cluster, ingress: Ingress) -> Item:
    fix = "correct `ingress.class` in targets.yaml; kubectl get ingressclasses shows them"
    if ingress.class_name:
        there = cluster.get("IngressClass", ingress.class_name) is not None
        detail = f"class {ingress.class_name}"
        return item(
            "ingress", there, detail if there else f"there is no IngressClass {ingress.class_name}", fix
        )
    marked = [
        known["metadata"]["name"]
        for known in cluster.list("IngressClass")
        if known["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    return item(
        "ingress", bool(marked), f"class {marked[0]}" if marked else "no IngressClass is the default", fix
    )


def _address(name: str, url: str, key: str) -> Item:
    """Any HTTP answer is ok: 404 is that for a name which has no route."""
    what = f"{name}'s address"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        fix = f"correct `{name}.{key}` in targets.yaml: its address as people use it"
        return item(what, False, f"{url} does not answer: {reason}", fix)
    return item(what, True, f"{url} answers (HTTP {code})")
