"""Endpoints in a Kubernetes namespace: one Deployment per release; a Service and a route select which gets traffic."""

import re
from contextlib import AbstractContextManager
from functools import partial

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.endpoint import ClusterEndpoint, endpoint_names
from tidegate.infra.cluster.endpoint_objects import ReleaseSpec, endpoint_labels
from tidegate.infra.cluster.endpoint_pod import GRACE_S, PORT
from tidegate.infra.cluster.jobs import driver_name, is_finished
from tidegate.infra.cluster.lease import leased
from tidegate.infra.errors import ConflictError, RolloutError
from tidegate.pipelines.errors import CanaryError, PipelineError, UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting.base import Live, Stage
from tidegate.pipelines.hosting.canary import START_S, Rollout, ratio, why_no_canary
from tidegate.pipelines.hosting.manifests import entrance_of, release_facts, spec_of
from tidegate.pipelines.hosting.own_key import line_of, stored_key
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.release import EndpointState, Release, fail, load, promote, update
from tidegate.serving.errors import ServerStartError

LOCK_S = 120.0
RUN_LOCK_S = 24 * 3600.0  # a run waits for another run's canary; a user is told who holds the lock
OWN_NAMES = re.compile(r".*-r\d+(-canary)?")
# What a server's own paths begin with, of those that an endpoint could be called.
SERVED = ("contract", "healthz", "livez", "metrics", "predict", "readyz", "v1", "v2")


class KubernetesHosting:
    """The endpoints of a target."""

    def __init__(self, home: Home) -> None:
        """Use the target's namespace and store."""
        if home.target is None:
            raise PipelineError("the home's target is local; expected a cluster; give --target")
        self._home, self._target = home, home.target
        self._keys: dict[str, str] = {}

    @property
    def _cluster(self) -> Cluster:
        return self._home.cluster

    def check(self, state: EndpointState, serving: Serving) -> None:
        """Refuse a name that no Service may have, or that is already used in the namespace, and recording.

        A pod of an endpoint has no right to the store, where its requests would have to go.
        """
        if serving.record is not None:
            raise UsageError(
                "serving.record: requests are kept by endpoints on this machine, and the target is a cluster, where an "
                "endpoint's pods may write nothing; expected no serving.record; leave it out for this target"
            )
        name, fix = state.name, "choose another with serving.endpoint"
        if not name[0].isalpha():
            raise UsageError(
                f'endpoint "{name}": a Service\'s name must begin with a letter on a cluster; {fix}'
            )
        if OWN_NAMES.fullmatch(name):
            raise UsageError(
                f'endpoint "{name}": names that end like -r1 are for releases on a cluster; {fix}'
            )
        if name in SERVED and self.facts(name)["path_prefix"]:
            raise UsageError(
                f'endpoint "{name}": all endpoints of the target\'s Ingress have one host, and below it /{name} is a '
                f"path of each server itself; {fix}"
            )
        foreign = self._place(name).name_conflict()
        if foreign:
            raise UsageError(
                f'endpoint "{name}": {foreign} exists in namespace {self._target.namespace}; {fix}'
            )

    def describe(self, serving: Serving) -> str:
        """By weights of the gateway, or by replica counts."""
        if serving.canary is None:
            return "a new release gets all traffic at once when it is verified; the previous one drains"
        steps, bake = serving.canary.steps, serving.canary.bake
        if self._target.gateway is not None:
            shares = ", ".join(str(step) for step in steps)
            way = f"{shares} % of the requests, by weights of gateway {self._target.gateway.name}"
        else:
            shares = ", ".join(ratio(step, serving.replicas.min) for step in steps)
            why = "an Ingress has no weights" if self._target.ingress else "the target names no gateway"
            way = f"{shares} of the connections, by replica counts: {why}"
        return f"a new release starts as a canary: {way}; {bake} each"

    def lock(self, name: str, run: str) -> AbstractContextManager[None]:
        """Hold the endpoint's Lease."""
        patience = RUN_LOCK_S if run else LOCK_S
        return leased(self._cluster, f"tidegate-endpoint-{name}", run, patience, endpoint_labels(name))

    def choose_port(self, state: EndpointState, wanted: int | None) -> int | None:
        """No port: the address is that of the gateway, the Ingress or the Service."""
        del state, wanted
        return None

    def facts(self, endpoint: str) -> dict[str, str]:
        """The tag of the images built from this code, and how the target's servers are asked."""
        return release_facts(self._target, endpoint)

    def url(self, state: EndpointState) -> str:
        """A path at the gateway, or the Ingress' address; else the Service's, which only pods can reach."""
        if self._target.gateway is not None:
            return f"{self._target.gateway.url.rstrip('/')}/{state.name}"
        if self._target.ingress is not None:
            return self._target.ingress.url(state.name)
        secure = self._target.tls if state.current is None else state.release(state.current).tls
        return f"{_scheme(secure)}://{self._host(state)}:{PORT}"

    def trust(self, state: EndpointState) -> Trust | None:
        """Every release that has a certificate has that of the endpoint's Service, whatever its own address is."""
        if self._target.tls is None:
            return None
        return Trust(self._target.tls.ca, self._host(state))

    def _host(self, state: EndpointState) -> str:
        return f"{state.name}.{self._target.namespace}.svc"

    def answers(self, state: EndpointState) -> bool:
        """Whether the live release has ready pods and gets the traffic."""
        if state.current is None:
            return False
        place, live = self._place(state.name), self._spec(state, state.release(state.current))
        return place.live_key() == live.key and place.has_route(live) and bool(place.ready_pods(live.name))

    def addresses(self, state: EndpointState) -> list[str]:
        """http://HOST:PORT or https:// of each ready server of the live release, for pods."""
        if state.current is None:
            return []
        return self._place(state.name).addresses(self._spec(state, state.release(state.current)).name)

    def logs(self, state: EndpointState, number: int) -> dict[str, str]:
        """The logs of the release's pods that are there."""
        pods = self._place(state.name).pods(self._spec(state, state.release(number)).name)
        names = [pod["metadata"]["name"] for pod in pods]
        return {name: self._cluster.logs(name) for name in names}

    def prove(self, state: EndpointState, number: int) -> dict[str, str]:
        """Refused: a pod is not asked from outside; it proves itself before it is ready, and each hour."""
        raise UsageError(
            f'endpoint "{state.name}" is on a cluster, where prove asks nobody; each pod proves release {number} '
            "before it is ready and each hour: see tidegate_proofs_total in its /metrics and `kubectl get pods`"
        )

    def start(self, state: EndpointState, release: Release) -> None:
        """Apply the release's objects and wait for its replicas."""
        place, spec = self._place(state.name), self._spec(state, release)
        try:
            place.start(spec, START_S)
        except RolloutError as error:
            if release.number != state.current:
                place.remove_release(spec)
            raise ServerStartError(str(error)) from error

    def private_url(self, state: EndpointState, number: int) -> str:
        """The release's own Service."""
        self.start(state, state.release(number))
        spec = self._spec(state, state.release(number))
        return f"{_scheme(spec.tls)}://{self._place(state.name).private_address(spec.name)}"

    def key(self, state: EndpointState, number: int) -> str | None:
        """It is kept in the store."""
        if not _serving(state.release(number)).guarded:
            return None
        if state.name not in self._keys:
            self._keys[state.name] = stored_key(self._home.store, state.name)
        return self._keys[state.name]

    def go_live(
        self, name: str, number: int, *, try_canary: bool = False, event: Event | None = None
    ) -> Live:
        """Run a canary if one is configured, then move the pointer; the traffic follows it."""
        state = load(self._home.store, name)
        release = state.release(number)
        self._require_fitting(state, release)
        self.start(state, release)
        stages: tuple[Stage, ...] = ()
        if state.current not in (None, number):
            stages = self._replace(state, release, try_canary, event)
        state = update(self._home.store, name, lambda known: promote(known, number, event), ConflictError)
        self.retire_others(state)
        return Live(state=state, stages=stages)

    def _require_fitting(self, state: EndpointState, release: Release) -> None:
        """Refuse one that the target's Ingress does not lead to, where another one is live."""
        if state.current in (None, release.number) or self._place(state.name).fits(
            self._spec(state, release)
        ):
            return
        raise UsageError(
            f"release {release.number} of {state.name} is from before the target's Ingress and does not take "
            f"/{state.name} from paths, so that no request would find it; expected a later release; submit again"
        )

    def _replace(
        self, state: EndpointState, release: Release, try_canary: bool, event: Event | None
    ) -> tuple[Stage, ...]:
        place, serving = self._place(state.name), _serving(release)
        champion, canary = self._spec(state, state.release(state.current or 0)), self._spec(state, release)
        wanted = serving.canary if try_canary else None
        problem = "" if wanted is None else why_no_canary(place, champion, canary)
        if problem:
            print(f"no canary: {problem}")
        if wanted is None or problem:
            place.scale(canary, place.replicas(champion.name), START_S)
            return ()
        if not place.has_route(
            champion
        ):  # the target has another way in than before: the canary is to get requests
            place.route_traffic(champion)
        weighted = self._target.gateway is not None
        asked = place, self.trust(state)
        rollout = Rollout(*asked, champion, canary, wanted, serving.slo, weighted=weighted)
        try:
            return rollout.run()
        except CanaryError as error:
            self.stop(state, release.number)
            refused = None if event is None else event.turned("refused", why=str(error))
            failed = partial(fail, number=release.number, event=refused)
            update(self._home.store, state.name, failed, ConflictError)
            raise

    def retire_others(self, state: EndpointState) -> None:
        """Give the live release all traffic, then remove all others but those that wait for promotion."""
        self._reconcile(state)

    def _reconcile(self, state: EndpointState) -> list[str]:
        place = self._place(state.name)
        kept = [
            known for known in state.releases if known.state == "pending" and self._is_driven(known.driver)
        ]
        if state.current is not None:
            live = state.release(state.current)
            place.route_traffic(self._spec(state, live))
            kept.append(live)
        if kept:
            return place.remove(self._spec(state, known).name for known in kept)
        return place.remove_all()

    def down(self) -> list[str]:
        """Remove the objects of every endpoint in the namespace."""
        removed = []
        for name in endpoint_names(self._cluster):
            removed += self._place(name).remove_all()
            self._place(name).wait_gone(GRACE_S + 5)
        return removed

    def sweep(self) -> list[str]:
        """Reconcile every endpoint with its state in the store."""
        removed = []
        for name in endpoint_names(self._cluster):
            with self.lock(name, ""):
                removed += self._reconcile(load(self._home.store, name))
        return removed

    def _is_driven(self, run: str) -> bool:
        job = self._cluster.get("Job", driver_name(run))
        return job is not None and not is_finished(job)

    def stop(self, state: EndpointState, number: int) -> bool:
        """Route traffic away from a release, then remove it and wait until its pods are gone."""
        place = self._place(state.name)
        if state.current not in (None, number):
            place.route_traffic(self._spec(state, state.release(state.current or 0)))
        removed = place.remove_release(self._spec(state, state.release(number)))
        if removed:
            others = [known for known in state.releases if known.number != number]
            place.wait_gone(GRACE_S + 5, [self._spec(state, known).name for known in others])
        return removed

    def remove(self, state: EndpointState) -> bool:
        """Remove everything of the endpoint and wait until its pods are gone."""
        place, ran = self._place(state.name), self.answers(state)
        if place.remove_all():
            place.wait_gone(GRACE_S + 5)
        return ran

    def _place(self, name: str) -> ClusterEndpoint:
        return ClusterEndpoint(self._cluster, name, entrance_of(self._target))

    def _spec(self, state: EndpointState, release: Release) -> ReleaseSpec:
        key = self.key(state, release.number)
        return spec_of(self._target, state.incarnation, release, "" if key is None else line_of(key))


def _scheme(secure: object) -> str:
    return "https" if secure else "http"


def _serving(release: Release) -> Serving:
    return Serving.model_validate(release.serving)
