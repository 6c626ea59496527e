"""What `plan` compares with, at a target where the live release's run is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.small_bundles import PROOF
from tests.cluster.tiny import write_experiment
from tidegate.infra.errors import ConflictError
from tidegate.pipelines.commands.plan import plan
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.origin import Origin
from tidegate.serving.deployment.release import Release, load, update

ORIGIN = Origin(promotion="p", target="staging", place="s3://bucket/staging", release=7)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (ORIGIN, "it came from release 7 of staging (s3://bucket/staging), where its run is"),
        (None, "its run tide-1 is not here any more"),
    ],
)
def test_nothing_is_compared_with_an_experiment_that_is_elsewhere(
    tmp_path: Path, origin: Origin | None, said: str
) -> None:
    home, file = Home(tmp_path / "home"), write_experiment(tmp_path, "tide")
    about = {"number": 3, "endpoint": "tide", "run": "tide-1", "trial": "t", "key": "k", "bundle": "b" * 64}
    rest = {"bento": "tide:1", "runtime": "onnx", "parity": PROOF, "created": "", "state": "live"}
    live = Release.model_validate({**about, **rest, "origin": origin})
    change = {"releases": (live,), "current": 3}
    update(home.store, "tide", lambda state: state.model_copy(update=change), ConflictError)
    assert load(home.store, "tide").current == 3
    made = plan(home, str(file))
    assert (made.data["changes"], made.data["not_compared"]) == (
        [],
        f"not compared with live release 3: {said}",
    )
    assert made.text.endswith(said)
