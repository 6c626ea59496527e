"""A release as a canary on Kubernetes: a share of the traffic at a time, compared with the champion's own metrics."""

import math
import time
from collections import Counter
from typing import Any

from tidegate.infra.cluster.endpoint import ClusterEndpoint
from tidegate.infra.cluster.endpoint_objects import ReleaseSpec
from tidegate.infra.cluster.endpoint_pod import PORT
from tidegate.infra.cluster.pod_status import last_failed_exit, restarts
from tidegate.infra.errors import RolloutError
from tidegate.models.config.training import seconds
from tidegate.pipelines.errors import CanaryError
from tidegate.pipelines.experiment.serving import Canary, Slo
from tidegate.pipelines.hosting.base import Stage
from tidegate.pipelines.hosting.judge import ENOUGH, judge
from tidegate.pipelines.hosting.metrics import Counts, scrape, since

POLL_S = 1.0
LONGEST = 10  # times the bake, until too few requests are too few
LEAST_S = 30.0  # and so long at least
START_S = 300.0


class Rollout:
    """One canary, from its first share to all of the traffic.

    Args:
        place: the endpoint.
        champion: the live release.
        canary: the release that may become it; its pods are ready.
        plan: the shares, and how long each is watched.
        slo: what the endpoint promises.
        weighted: whether a gateway splits the requests; else the numbers of replicas do.
    """

    def __init__(
        self,
        place: ClusterEndpoint,
        champion: ReleaseSpec,
        canary: ReleaseSpec,
        plan: Canary,
        slo: Slo | None,
        *,
        weighted: bool,
    ) -> None:
        self._place, self._champion, self._canary = place, champion, canary
        self._plan, self._slo, self._weighted = plan, slo, weighted
        self._began: dict[str, Counts] = {}  # the champion's counts when the canary began
        self._ended: Counter[str] = Counter()  # restarts of the canary's pods that were seen already

    def run(self) -> tuple[Stage, ...]:
        """Go through all steps.

        Raises:
            CanaryError: it did worse, could not be judged, or its pods ended. The traffic is still split: the caller
                takes it back.
        """
        # A canary that starts with everything leaves the champion nothing to count: then all of its life counts.
        self._began = self._scraped(self._champion) if self._plan.steps[0] < 100 else {}
        self._crashed()
        stages = []
        for weight in self._plan.steps:
            try:
                self._share(weight)
            except RolloutError as error:
                raise CanaryError(f"canary {self._canary.name} at {weight} %: {error}") from error
            stages.append(self._bake(weight))
        return tuple(stages)

    def _share(self, weight: int) -> None:
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
        before, started = self._scraped(self._canary), time.monotonic()
        bake = seconds(self._plan.bake)
        while True:
            time.sleep(min(POLL_S, bake))
            self._raise_if_crashed(weight)
            canary = self._scraped(self._canary)
            champion = since(self._began, self._scraped(self._champion))
            verdict = judge(champion, since(before, canary), self._slo)
            watched = time.monotonic() - started
            if verdict.problem:
                raise CanaryError(f"{self._head(weight)}: {verdict.problem}; {_listed(verdict.figures)}")
            if watched >= bake and verdict.enough:
                self._say(weight, verdict.figures)
                return Stage(weight=weight, seconds=round(watched, 1), figures=verdict.figures)
            if watched >= max(bake * LONGEST, LEAST_S):
                words = self._unknown(bool(canary), watched)
                raise CanaryError(f"{self._head(weight)}: {words}; {_listed(verdict.figures)}")

    def _unknown(self, measured: bool, watched: float) -> str:
        if not measured:
            return (
                f"its pods gave no metrics for {watched:.0f} s, and without metrics nothing is promoted; expected "
                f"/metrics on port {PORT} of each pod to be open to the driver: see the namespace's network policies"
            )
        return (
            f"within {watched:.0f} s there were too few requests to judge it: expected {ENOUGH} at champion and canary "
            "each; wait for traffic, bake longer, or leave serving.canary out"
        )

    def _raise_if_crashed(self, weight: int) -> None:
        words = self._crashed()
        if words:
            raise CanaryError(f"{self._head(weight)}: {words}")

    def _crashed(self) -> str:
        """Which pod of the canary ended since it was last looked at, in words; "" when none did."""
        found = ""
        for pod in self._pods(self._canary):
            name, count = pod["metadata"]["name"], restarts(pod)
            if count > self._ended[name] and not found:
                tail = self._place.log_tail(pod)
                end = last_failed_exit(pod) or "it ended"
                found = f"pod {name} crashed: {end}" + (f"; the end of its log: {tail}" if tail else "")
            self._ended[name] = count
        return found

    def _pods(self, spec: ReleaseSpec) -> list[dict[str, Any]]:
        return [*self._place.pods(spec.name), *self._place.pods(f"{spec.name}-canary")]

    def _scraped(self, spec: ReleaseSpec) -> dict[str, Counts]:
        names = (spec.name, f"{spec.name}-canary")
        pods = [pod for name in names for pod in self._place.ready_pods(name)]
        return scrape(f"{pod['status']['podIP']}:{PORT}" for pod in pods)

    def _head(self, weight: int) -> str:
        return f"canary {self._canary.name} was taken back at {weight} % of the traffic"

    def _say(self, weight: int, figures: dict[str, float]) -> None:
        print(f"canary {self._canary.name} at {weight} %: {_listed(figures)}", flush=True)


def replicas_for(weight: int, champions: int) -> int:
    """Replicas beside those of the champion that make about `weight` percent of all; one at least."""
    return max(1, round(champions * weight / (100 - weight)))


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in figures.items())
