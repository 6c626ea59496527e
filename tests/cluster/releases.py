"""Releases of hand-made bundles at a target, by the product's own steps and commands, without a training run."""

import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.package import Packaged
from tidegate.pipelines.step_types.release import DeployInputs, PromoteInputs
from tidegate.pipelines.steps import deploy, promote
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import load

from .small_bundles import CLASSES, DEADLY, make_bundle

SMALL = {"resources": {"cpu": 0.5, "memory": "384Mi"}}
ROWS = [{"x": x, "y": 0.5} for x in (-2.0, -0.5, 0.5, 2.0)]


class Releases:
    """One endpoint and the releases that a test gives it."""

    def __init__(self, home: Home, name: str, folder: Path) -> None:
        self.home, self.name = home, name
        self._folder, self._made = folder, 0

    @property
    def url(self) -> str:
        return hosting(self.home).url(load(self.home.store, self.name))

    def deploy(self, kind: str = "right", **serving: Any) -> int:
        """Keep a bundle, reserve a release and start its pods; they have no traffic."""
        self._made += 1
        run = f"{self.name}-run{self._made}"
        digest = keep_bundle(self.home, make_bundle(self._folder / run, self.name, kind))
        packaged = Packaged(
            bundle=digest, bento="none", runtime="onnx", reason="", parity=0.0, tolerance=1e-4, rows=1
        )
        inputs = DeployInputs(
            run=run,
            endpoint=self.name,
            serving=Serving.model_validate({**SMALL, **serving}),
            packaged=packaged,
            trial="trial-0",
        )
        return deploy.run(inputs, self._context(run)).release

    def verify(self, number: int) -> list[Any]:
        """What the release answers at its own address."""
        place, state = hosting(self.home), load(self.home.store, self.name)
        url, key, trust = place.private_url(state, number), place.key(state, number), place.trust(state)
        with Client(url, key=key, trust=trust) as client:
            return labels(client.predict(ROWS))

    def promote(self, number: int) -> promote.Promoted:
        """Give the release the traffic, as the step does."""
        state = load(self.home.store, self.name)
        champion = state.release(state.current).bundle if state.current else None
        run = state.release(number).run
        inputs = PromoteInputs(run=run, endpoint=self.name, release=number, champion=champion)
        return promote.run(inputs, self._context(run))

    def release(self, kind: str = "right", **serving: Any) -> int:
        """Deploy and promote."""
        number = self.deploy(kind, **serving)
        self.promote(number)
        return number

    def ask(self, path: str = "/predict", key: str = "") -> Any:
        """What the endpoint answers where its URL says to who has this key or token."""
        body = json.dumps({"rows": ROWS}).encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def _context(self, run: str) -> StepContext:
        folder = self.home.folder_of(run)
        return StepContext(self.home, folder, "step", run, Path(tempfile.mkdtemp(dir=self._folder)))


def labels(predictions: list[Any]) -> list[Any]:
    """The classes of predictions."""
    return [prediction["label"] for prediction in predictions]


RIGHT = list(range(CLASSES))
DEADLY_ROW = {"x": DEADLY, "y": 0.5}
