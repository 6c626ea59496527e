"""A canary rollout on Kubernetes: its share of the traffic grows in steps, each compared with the champion."""

import math
import time
from collections import Counter
from typing import Any

from tidegate.infra.cluster.endpoint import ClusterEndpoint
from tidegate.infra.cluster.endpoint_objects import ReleaseSpec
from tidegate.infra.cluster.endpoint_pod import PORT
from tidegate.infra.cluster.pods.status import last_failed_exit, restarts
from tidegate.infra.errors import RolloutError
from tidegate.models.config.quantities import seconds
from tidegate.pipelines.errors import CanaryError
from tidegate.pipelines.experiment.serving import Canary, Slo
from tidegate.pipelines.hosting.base import Stage
from tidegate.pipelines.hosting.judge import MIN_REQUESTS, judge
from tidegate.pipelines.hosting.metrics import Counts, scrape, since
from tidegate.serving.deployment.connections import Trust

POLL_S = 1.0
# How long to wait for enough requests: this many times the bake time, but at least MIN_WAIT_S.
MAX_BAKES = 10
MIN_WAIT_S = 30.0
START_S = 300.0


class Rollout:
    """One canary, from its first share to all of the traffic.

    Args:
        place: the endpoint.
        trust: which certificate its pods show; None: they have none.
        champion: the live release.
        canary: the release that may become it; its pods are ready.
        plan: the shares, and how long each is measured.
        slo: the endpoint's service level objectives.
        weighted: whether a gateway splits the requests; otherwise the replica counts do.
    """

    def __init__(
        self,
        place: ClusterEndpoint,
        trust: Trust | None,
        champion: ReleaseSpec,
        canary: ReleaseSpec,
        plan: Canary,
        slo: Slo | None,
        *,
        weighted: bool,
    ) -> None:
        self._place, self._trust, self._champion, self._canary = place, trust, champion, canary
        self._plan, self._slo, self._weighted = plan, slo, weighted
        self._began: dict[str, Counts] = {}  # the champion's counts when the canary began
        self._restarts: Counter[str] = Counter()  # restarts of the canary's pods seen so far

    def run(self) -> tuple[Stage, ...]:
        """Run all steps.

        Raises:
            CanaryError: it did worse, could not be judged, or its pods crashed. The traffic is still split: the caller
                must route it back.
        """
        # If the canary starts with all traffic, the champion counts nothing meanwhile: use all that it ever counted.
        self._began = self._scrape(self._champion) if self._plan.steps[0] < 100 else {}
        self._new_crash()
        stages = []
        for weight in self._plan.steps:
            try:
                self._shift_traffic(weight)
            except RolloutError as error:
                raise CanaryError(f"canary {self._canary.name} at {weight} %: {error}") from error
            stages.append(self._bake(weight))
        return tuple(stages)

    def _shift_traffic(self, weight: int) -> None:
        champions = self._place.replicas(self._champion.name)
        self._place.scale(self._canary, math.ceil(champions * weight / 100), START_S)
        if weight == 100:
            self._place.route_traffic(self._canary)
        elif self._weighted:
            shares = {self._champion.name: 100 - weight, self._canary.name: weight}
            self._place.route_traffic(self._champion, shares)
        else:
            replicas = replicas_for(weight, champions)
            self._place.start_canary(self._canary, replicas, self._champion.key, START_S)

    def _bake(self, weight: int) -> Stage:
        before, started = self._scrape(self._canary), time.monotonic()
        bake = seconds(self._plan.bake)
        while True:
            time.sleep(min(POLL_S, bake))
            self._raise_if_crashed(weight)
            canary = self._scrape(self._canary)
            champion = since(self._began, self._scrape(self._champion))
            verdict = judge(champion, since(before, canary), self._slo)
            watched = time.monotonic() - started
            if verdict.problem:
                raise CanaryError(
                    f"{self._rolled_back(weight)}: {verdict.problem}; {_format(verdict.figures)}"
                )
            if watched >= bake and verdict.enough:
                self._print_step(weight, verdict.figures)
                return Stage(weight=weight, seconds=round(watched, 1), figures=verdict.figures)
            if watched >= max(bake * MAX_BAKES, MIN_WAIT_S):
                reason = self._why_undecided(bool(canary), watched)
                raise CanaryError(f"{self._rolled_back(weight)}: {reason}; {_format(verdict.figures)}")

    def _why_undecided(self, measured: bool, watched: float) -> str:
        if not measured:
            return (
                f"its pods returned no metrics for {watched:.0f} s, and nothing is promoted without metrics; expected "
                f"/metrics on port {PORT} of each pod to be open to the driver; check the namespace's network policies"
            )
        return (
            f"within {watched:.0f} s there were too few requests to judge it: expected {MIN_REQUESTS} each at "
            "champion and canary; wait for traffic, bake longer, or leave serving.canary out"
        )

    def _raise_if_crashed(self, weight: int) -> None:
        crash = self._new_crash()
        if crash:
            raise CanaryError(f"{self._rolled_back(weight)}: {crash}")

    def _new_crash(self) -> str:
        """Describe the first pod of the canary that crashed since the last call; "" if none did."""
        found = ""
        for pod in self._pods(self._canary):
            name, count = pod["metadata"]["name"], restarts(pod)
            if count > self._restarts[name] and not found:
                tail = self._place.log_tail(pod)
                end = last_failed_exit(pod) or "it ended"
                found = f"pod {name} crashed: {end}" + (f"; the end of its log: {tail}" if tail else "")
            self._restarts[name] = count
        return found

    def _pods(self, spec: ReleaseSpec) -> list[dict[str, Any]]:
        return [*self._place.pods(spec.name), *self._place.pods(f"{spec.name}-canary")]

    def _scrape(self, spec: ReleaseSpec) -> dict[str, Counts]:
        servers = [*self._place.addresses(spec.name), *self._place.addresses(f"{spec.name}-canary")]
        return scrape(servers, self._trust)

    def _rolled_back(self, weight: int) -> str:
        return f"canary {self._canary.name} was rolled back at {weight} % of the traffic"

    def _print_step(self, weight: int, figures: dict[str, float]) -> None:
        print(f"canary {self._canary.name} at {weight} %: {_format(figures)}", flush=True)


def replicas_for(weight: int, champions: int) -> int:
    """Canary replicas that make about `weight` percent of all, with those of the champion; at least one."""
    return max(1, round(champions * weight / (100 - weight)))


def _format(figures: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in figures.items())


def why_no_canary(place: ClusterEndpoint, champion: ReleaseSpec, canary: ReleaseSpec) -> str:
    """Why a release can not share the requests with the live one; "" if it can."""
    if not place.ready_pods(champion.name):
        return f"{champion.name} does not run, so there is nothing to compare with"
    schemes = sorted({place.scheme(champion.name), place.scheme(canary.name)})
    if len(schemes) > 1:
        return f"{champion.name} and {canary.name} speak {' and '.join(schemes)}, and a client only one"
    if not place.fits(champion):
        return f"the target's Ingress leads to {canary.path_prefix}, which {champion.name} does not take from paths"
    return ""


def ratio(step: int, champions: int) -> str:
    """The real share of a step with this many replicas, such as `1 of 2 replicas (50 %)`."""
    if step == 100:
        return "all"
    more = replicas_for(step, champions)
    return f"{more} of {more + champions} replicas ({100 * more / (more + champions):.0f} % for {step} %)"
