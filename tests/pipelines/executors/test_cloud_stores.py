"""A step in a pod whose store is in Google's or Azure's cloud: it finds its call there and leaves its outputs."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bucket_servers import BucketServer
from tests.pipelines.executors.test_packing import Packed
from tidegate.pipelines.state.finished_steps import find_outputs, refs_in


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_a_pod_leaves_its_outputs_there(cloud: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: BucketServer = request.getfixturevalue(cloud)
    run = Packed(tmp_path, server)
    run.plan = replace(run.plan, steps=tuple(run.plan.of("prepare")))
    run.drive()
    store = run.home.store
    outputs = find_outputs(store, run.plan.steps[0].key)
    refs = list(refs_in(outputs))
    assert refs
    assert all(store.fetch(ref).stat().st_size == ref.size for ref in refs)
