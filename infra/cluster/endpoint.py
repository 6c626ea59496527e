"""One endpoint in a namespace: the pods of its releases, and which release gets the traffic."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.endpoint_objects import (
    MANAGED,
    ReleaseSpec,
    canary_deployment,
    release_objects,
    stable_service,
)
from tidegate.infra.cluster.endpoint_pod import PORT
from tidegate.infra.cluster.entrances import Gateway, IngressRule, ingress, route
from tidegate.infra.cluster.jobs import selector
from tidegate.infra.cluster.pods.diagnosis import why_from_events
from tidegate.infra.cluster.pods.status import failing_container, is_ready, why_not_ready
from tidegate.infra.cluster.pods.tls import scheme_of
from tidegate.infra.errors import ForbiddenError, NotFoundError, RolloutError

Object = dict[str, Any]
# In the order of removal: the objects that route traffic go first, so that nothing is sent to removed pods.
KINDS = (
    "HTTPRoute",
    "Ingress",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Deployment",
    "NetworkPolicy",
)
CUSTOM_METRICS = "/apis/custom.metrics.k8s.io/v1beta1"
POLL_S = 0.2
EVENTS_AFTER_S = 5.0  # events are read only after this time, which a healthy pod takes to start
PROBLEM_S = 15.0  # how long a problem must last: a registry may fail once, a Secret may be created soon
PROPAGATION_S = 2.5  # until gateways and nodes have applied a change
ROUTE_S = 20.0


class ClusterEndpoint:
    """An endpoint's objects.

    Args:
        cluster: the namespace.
        name: the endpoint's name.
        entrance: the parent of its HTTPRoute, or what its Ingress says; None: only pods reach it.
    """

    def __init__(self, cluster: Cluster, name: str, entrance: Gateway | IngressRule | None) -> None:
        self._cluster, self.name, self._entrance = cluster, name, entrance

    def name_conflict(self) -> str:
        """A description of a foreign object that has the endpoint's name; "" if there is none."""
        found = self._cluster.get("Service", self.name)
        labels = found["metadata"].get("labels", {}) if found else {}
        ours = labels.get("tidegate.dev/endpoint") == self.name and "tidegate.dev/release" not in labels
        return "" if found is None or ours else f"a Service of the name {self.name}"

    def start(self, spec: ReleaseSpec, timeout_s: float, say: Callable[[str], None] = print) -> None:
        """Apply a release's objects and wait until its replicas are ready; raises RolloutError."""
        replicas = max(spec.min_replicas, min(spec.max_replicas, self.replicas(spec.name)))
        for obj in release_objects(spec, replicas, self._has_custom_metrics(spec)):
            self._cluster.apply(obj)
        self.wait_ready(spec.name, timeout_s, say)

    def start_canary(self, spec: ReleaseSpec, replicas: int, champion: str, timeout_s: float) -> None:
        """Start `replicas` pods of a release in the champion's pool; raises RolloutError."""
        self._cluster.apply(canary_deployment(spec, replicas, champion))
        self.wait_ready(f"{spec.name}-canary", timeout_s)

    def scale(self, spec: ReleaseSpec, replicas: int, timeout_s: float) -> None:
        """Scale up to `replicas`, within the release's limits; never scale down."""
        wanted = max(spec.min_replicas, min(spec.max_replicas, replicas))
        if wanted > self.replicas(spec.name):
            self._cluster.patch("Deployment", spec.name, {"spec": {"replicas": wanted}})
            self.wait_ready(spec.name, timeout_s)

    def replicas(self, deployment: str) -> int:
        """The number of replicas in the Deployment's spec; 0 if there is no such Deployment."""
        found = self._cluster.get("Deployment", deployment)
        return int(found["spec"].get("replicas", 1)) if found else 0

    def pods(self, deployment: str) -> list[Object]:
        """The pods of a Deployment."""
        return self._cluster.list("Pod", f"tidegate.dev/deployment={deployment}")

    def ready_pods(self, deployment: str) -> list[Object]:
        """The pods of a Deployment that are ready."""
        return [pod for pod in self.pods(deployment) if is_ready(pod)]

    def addresses(self, deployment: str) -> list[str]:
        """http://HOST:PORT or https:// of each ready pod of a Deployment, for other pods."""
        return [f"{scheme_of(pod)}://{pod['status']['podIP']}:{PORT}" for pod in self.ready_pods(deployment)]

    def scheme(self, deployment: str) -> str:
        """`http` or `https`: how the ready pods of a Deployment are asked; "" without any."""
        return next((scheme_of(pod) for pod in self.ready_pods(deployment)), "")

    def wait_ready(self, deployment: str, timeout_s: float, say: Callable[[str], None] = print) -> None:
        """Wait until all replicas are ready.

        Raises:
            RolloutError: they are not ready; with the reason and the end of the failed container's log.
        """
        began, problem, since = time.monotonic(), "", time.monotonic()
        while not self._is_complete(deployment):
            now = time.monotonic()
            found = self._problem(deployment, now - began > EVENTS_AFTER_S)
            if found != problem:
                # The message of a lasting problem may change; only a moment without a problem resets the clock.
                problem, since = found, since if problem and found else now
                say(f"{deployment}: {problem}") if problem else None
            waits_for_node = problem.startswith("no node has room")
            late = now - began > timeout_s
            if late or (problem and not waits_for_node and now - since > PROBLEM_S):
                raise RolloutError(self._failure_message(deployment, problem, late, timeout_s))
            time.sleep(POLL_S)

    def _is_complete(self, deployment: str) -> bool:
        found = self._cluster.get("Deployment", deployment)
        if found is None:
            raise RolloutError(f"Deployment {deployment} was deleted while it started; submit again")
        wanted, status = found["spec"].get("replicas", 1), found.get("status", {})
        observed = bool(status.get("observedGeneration", 0) >= found["metadata"]["generation"])
        counts = (status.get(key, 0) for key in ("updatedReplicas", "availableReplicas"))
        # Pods of an earlier template are available too.
        older = status.get("replicas", 0) > status.get("updatedReplicas", 0)
        return observed and not older and all(count >= wanted for count in counts)

    def _problem(self, deployment: str, ask_events: bool) -> str:
        """Why pods do not run, from their status, else from events if `ask_events`: a namespace has many events."""
        pods = self.pods(deployment)
        found = next((words for pod in pods if (words := why_not_ready(pod))), "")
        if not found and ask_events:
            events = self._cluster.list("Event", fields="type=Warning")
            own = [
                one for one in events if one["involvedObject"].get("name", "").startswith(f"{deployment}-")
            ]
            reason = why_from_events(own) if not any(is_ready(pod) for pod in pods) else None
            found = reason.message if reason else ""
        return found

    def _failure_message(self, deployment: str, problem: str, late: bool, timeout_s: float) -> str:
        words = problem or "its pods do not become ready"
        words = f"{deployment} did not start{f' within {timeout_s:g} s' if late else ''}: {words}"
        tail = next((tail for pod in self.pods(deployment) if (tail := self.log_tail(pod))), "")
        return f"{words}; the end of its log: {tail}" if tail else words

    def log_tail(self, pod: Object) -> str:
        """The end of the log of a pod's failed container, on one line; "" if there is none."""
        container = failing_container(pod)
        if not container:
            return ""
        name = pod["metadata"]["name"]
        text = self._cluster.logs(name, container=container, tail=20, previous=True)
        text = text or self._cluster.logs(name, container=container, tail=20)
        return " ".join(text.split()[-60:])

    def route_traffic(self, live: ReleaseSpec, weights: dict[str, int] | None = None) -> None:
        """Route the endpoint's traffic to a release; where the target's way in does not fit it, it keeps what it has.

        Args:
            live: the release that the stable Service selects.
            weights: release name -> percent of the gateway's requests; None: all to `live`.
        """
        changed = self._applied(stable_service(live))
        if self.fits(live):
            changed |= self._entered(weights or {live.name: 100})
        if changed:
            time.sleep(PROPAGATION_S)

    def _entered(self, weights: dict[str, int]) -> bool:
        """Have the target's way in, and no other; return whether that changed it."""
        if self._entrance is None:
            return False
        if isinstance(self._entrance, Gateway):
            changed = self._applied(route(self.name, self._entrance, weights))
            self._wait_for_route(self._entrance)
        else:
            changed = self._applied(ingress(self.name, self._entrance))
        self._delete_all("Ingress" if self._kind == "HTTPRoute" else "HTTPRoute", _selector(self.name))
        return changed

    def _applied(self, obj: Object) -> bool:
        """Apply an object; return whether that changed it."""
        before = self._cluster.get(obj["kind"], obj["metadata"]["name"])
        after = self._cluster.apply(obj)
        versions = [known["metadata"]["resourceVersion"] for known in (before, after) if known]
        return len(set(versions)) > 1 or before is None

    def _wait_for_route(self, gateway: Gateway) -> None:
        """Wait until the gateway's controller has accepted the route as it is now."""
        deadline = time.monotonic() + ROUTE_S
        while time.monotonic() < deadline:
            found = self._cluster.get("HTTPRoute", self.name) or {"metadata": {}}
            accepted = [
                one
                for parent in found.get("status", {}).get("parents", ())
                for one in parent.get("conditions", ())
                if one["type"] == "Accepted"
                and one.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
            ]
            if any(one["status"] == "True" for one in accepted):
                return
            if accepted:
                raise RolloutError(f"the gateway refused the route of {self.name}: {accepted[0]['message']}")
            time.sleep(POLL_S)
        raise RolloutError(
            f"no gateway accepted the route of {self.name} within {ROUTE_S:g} s; expected Gateway "
            f"{gateway.name} in namespace {gateway.namespace} to accept routes of this namespace; "
            "correct `gateway` in targets.yaml, or see the gateway's log"
        )

    def live_key(self) -> str:
        """The `key` of the release that the stable Service selects; "" if there is no Service."""
        found = self._cluster.get("Service", self.name)
        return str(found["spec"].get("selector", {}).get("tidegate.dev/pool", "")) if found else ""

    def fits(self, release: ReleaseSpec) -> bool:
        """Whether the target's way in leads to a release: it takes from paths what an Ingress leaves in them."""
        rule = self._entrance
        return not isinstance(rule, IngressRule) or rule.prefix_of(self.name) in ("", release.path_prefix)

    def has_route(self, live: ReleaseSpec) -> bool:
        """Whether the endpoint's URL leads to it, or a release from before the target's Ingress keeps its own."""
        unrouted = self._entrance is None or not self.fits(live)
        return unrouted or self._cluster.get(self._kind, self.name) is not None

    @property
    def _kind(self) -> str:
        return "HTTPRoute" if isinstance(self._entrance, Gateway) else "Ingress"

    def private_address(self, release: str) -> str:
        """Address and port of a release's own Service."""
        found = self._cluster.get("Service", release)
        if found is None:
            raise NotFoundError(f"the Service {release} no longer exists; submit again")
        return f"{found['spec']['clusterIP']}:{PORT}"

    def remove(self, keep: Iterable[str]) -> list[str]:
        """Remove canaries and all releases except those named in `keep`; return what was removed."""
        return self._removed(f"{_selector(self.name)},tidegate.dev/release", set(keep))

    def remove_release(self, spec: ReleaseSpec) -> bool:
        """Remove all objects of one release; return whether there were any."""
        own = f"tidegate.dev/release={spec.number},tidegate.dev/incarnation={spec.incarnation}"
        return bool(self._removed(f"{_selector(self.name)},{own}"))

    def remove_all(self) -> list[str]:
        """Remove all objects of the endpoint; return what was removed."""
        return self._removed(_selector(self.name))

    def _removed(self, labels: str, keep: Collection[str] = ()) -> list[str]:
        return [f"{kind} {name}" for kind in KINDS for name in self._delete_all(kind, labels, keep)]

    def _delete_all(self, kind: str, labels: str, keep: Collection[str] = ()) -> list[str]:
        names = (obj["metadata"]["name"] for obj in _listed(self._cluster, kind, labels))
        return [name for name in names if name not in keep and self._cluster.delete(kind, name)]

    def wait_gone(self, timeout_s: float, keep: Iterable[str] = ()) -> None:
        """Wait until only the pods of the Deployments in `keep` are left; pods finish their requests first."""
        deadline, kept = time.monotonic() + timeout_s, set(keep)
        while time.monotonic() < deadline:
            pods = self._cluster.list("Pod", _selector(self.name))
            if all(pod["metadata"]["labels"].get("tidegate.dev/deployment") in kept for pod in pods):
                return
            time.sleep(POLL_S)

    def _has_custom_metrics(self, spec: ReleaseSpec) -> bool:
        if spec.max_replicas <= spec.min_replicas:
            return False
        try:
            self._cluster.raw(CUSTOM_METRICS)
        except (NotFoundError, ForbiddenError):
            return False
        return True


def endpoint_names(cluster: Cluster) -> list[str]:
    """The names of all endpoints that have objects in the namespace."""
    found = [
        obj for kind in KINDS for obj in _listed(cluster, kind, f"{selector(MANAGED)},tidegate.dev/endpoint")
    ]
    return sorted({obj["metadata"]["labels"]["tidegate.dev/endpoint"] for obj in found})


def _listed(cluster: Cluster, kind: str, labels: str) -> list[Object]:
    """The objects of a kind; none where the cluster has no Gateway API, or nobody has allowed us Ingresses."""
    try:
        return cluster.list(kind, labels)
    except NotFoundError:
        return []
    except ForbiddenError:
        if kind != "Ingress":
            raise
        return []


def _selector(endpoint: str) -> str:
    return selector({**MANAGED, "tidegate.dev/endpoint": endpoint})
