"""Whether this user and the driver have the rights that runs and releases need, as the API server answers."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import ForbiddenError
from tidegate.pipelines.result import item

DRIVER = "tidegate-driver"
READ = ("get", "list", "watch")
MANAGE = (*READ, "create", "patch", "delete")
THREADS = 8


class Right(NamedTuple):
    """Verbs on a resource of an API group."""

    group: str
    resource: str
    verbs: tuple[str, ...]


RIGHTS = (
    Right("batch", "jobs", MANAGE),
    Right("", "pods", READ),
    Right("", "pods/log", ("get",)),
    Right("", "events", READ),
    Right("apps", "deployments", MANAGE),
    Right("", "services", MANAGE),
    Right("autoscaling", "horizontalpodautoscalers", MANAGE),
    Right("policy", "poddisruptionbudgets", MANAGE),
    Right("networking.k8s.io", "networkpolicies", MANAGE),
    Right("coordination.k8s.io", "leases", MANAGE),
)
# What leads to endpoints, by the key of a target.
ENTRANCES = {
    "gateway": Right("gateway.networking.k8s.io", "httproutes", MANAGE),
    "ingress": Right("networking.k8s.io", "ingresses", MANAGE),
}


def check_rights(cluster: Cluster, *, entrances: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """One item per resource for this user; one item for the driver's account.

    Args:
        cluster: the namespace.
        entrances: keys of the target that are given, `gateway` or `ingress`.
    """
    rights = (*RIGHTS, *(ENTRANCES[name] for name in entrances))
    fix = (
        f"have an administrator put you into the group tidegate-users, or: kubectl -n {cluster.namespace} create "
        f"rolebinding NAME --role={DRIVER} --user=YOU"
    )
    for right, lacking in zip(rights, _lacking(cluster, rights, None), strict=True):
        name = f"right: {right.resource}"
        detail = f"lacking: {', '.join(lacking)}" if lacking else ", ".join(right.verbs)
        yield item(name, not lacking, detail, fix)
    yield _check_driver(cluster, rights)


def _check_driver(cluster: Cluster, rights: tuple[Right, ...]) -> dict[str, Any]:
    account = f"system:serviceaccount:{cluster.namespace}:{DRIVER}"
    try:
        missing = [
            f"{verb} {right.resource}"
            for right, verbs in zip(rights, _lacking(cluster, rights, account), strict=True)
            for verb in verbs
        ]
    except ForbiddenError:
        return item("driver's rights", True, "cannot be told: you may not ask for others")
    detail = f"{DRIVER} lacks: {', '.join(missing[:6])}{' …' if missing[6:] else ''}" if missing else DRIVER
    return item(
        "driver's rights",
        not missing,
        detail,
        "kubectl apply -k the manifests again: Role and RoleBinding tidegate-driver",
    )


def _lacking(cluster: Cluster, rights: tuple[Right, ...], user: str | None) -> list[list[str]]:
    """For each right, the verbs that are refused."""
    pairs = [(right, verb) for right in rights for verb in right.verbs]
    with ThreadPoolExecutor(THREADS) as pool:
        granted = list(pool.map(lambda pair: _may(cluster, pair[0], pair[1], user), pairs))
    allowed = dict(zip(pairs, granted, strict=True))
    return [[verb for verb in right.verbs if not allowed[right, verb]] for right in rights]


def _may(cluster: Cluster, right: Right, verb: str, user: str | None) -> bool:
    resource, _, part = right.resource.partition("/")
    attributes = {"namespace": cluster.namespace, "verb": verb, "group": right.group, "resource": resource}
    spec: dict[str, Any] = {"resourceAttributes": {**attributes, "subresource": part}}
    kind = "SelfSubjectAccessReview"
    head: dict[str, Any] = {"apiVersion": "authorization.k8s.io/v1"}
    if user:
        kind, spec = "LocalSubjectAccessReview", {**spec, "user": user}
        head["metadata"] = {"namespace": cluster.namespace}
    answer = cluster.create({**head, "kind": kind, "spec": spec})
    return bool(answer.get("status", {}).get("allowed"))


def check_accounts(cluster: Cluster) -> dict[str, Any]:
    """Whether the service accounts of driver, scheduler, steps and endpoints exist."""
    names = (DRIVER, "tidegate-scheduler", "tidegate-step", "tidegate-endpoint")
    missing = [name for name in names if cluster.get("ServiceAccount", name) is None]
    detail = f"missing: {', '.join(missing)}" if missing else ", ".join(names)
    return item("service accounts", not missing, detail, "kubectl apply -k the manifests again")
