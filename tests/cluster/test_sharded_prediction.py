"""Batch prediction as an Indexed Job of a real cluster: a pod is killed, a row is wrong, the command is given again."""

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Bucket, open_bucket
from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.layout import Layout
from tidegate.pipelines.sharded_prediction.document import Manifest
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import find_target
from tidegate.serving.deployment.release import promote, reserve, update

from ..conftest import ROOT
from .conftest import Onto, wait_for
from .small_bundles import PROOF, make_bundle

pytestmark = pytest.mark.cluster
SMALL = ("--shards", "4", "--cpu", "0.5", "--memory", "512Mi")


class Data:
    """A folder of the testbed's bucket, as people and pods reach it."""

    def __init__(self, layout: Layout) -> None:
        keys = json.loads(layout.s3_credentials.read_bytes())
        self.url = f"s3://{install.BUCKET}/batch-{uuid.uuid4().hex[:8]}"
        self.bucket: Bucket = open_bucket(self.url, keys["endpoint"])

    def put(self, name: str, rows: list[dict[str, Any]]) -> None:
        content = "".join(json.dumps(row) + "\n" for row in rows)
        assert self.bucket.put(name, content.encode(), None, {}).etag

    def parts(self, output: str) -> list[str]:
        names = [found.key for found in self.bucket.list_objects(f"{output}/part-")]
        return [str((self.bucket.get(name) or (b"",))[0].decode()) for name in names]


@pytest.fixture
def data(installed: Layout) -> Iterator[Data]:
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(install.credentials(installed))
    made = Data(installed)
    yield made
    for found in list(made.bucket.list_objects()):
        made.bucket.delete(found.key)


@pytest.fixture
def released(onto: Onto, tmp_path: Path) -> Iterator[str]:
    """An endpoint of the target with a live release, whose pods nobody needs."""
    os.environ["TIDEGATE_TARGETS"] = str(install.TARGETS)
    target = find_target(onto.home, "testbed")
    home = Home(onto.home / "targets" / "testbed", target)
    name = f"batch-{uuid.uuid4().hex[:6]}"
    for number, kind in enumerate(("slow", "right"), 1):
        digest = keep_bundle(home, make_bundle(tmp_path / kind, name, kind))
        facts: dict[str, Any] = {
            "run": "r",
            "trial": "t",
            "key": kind,
            "bundle": digest,
            "bento": f"{name}:1",
        }

        def change(state: Any, facts: dict[str, Any] = facts, number: int = number) -> Any:
            return promote(reserve(state, **facts, runtime="onnx", parity=PROOF), number)

        update(home.store, name, change, ConflictError)
    yield name
    home.store.delete(f"endpoints/{name}.json")


def some_rows(count: int, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [{"x": float(x), "y": 0.5} for x in random.uniform(-2, 2, count).round(3)]


def pods_of(api: Cluster, job: str) -> list[dict[str, Any]]:
    return api.list("Pod", f"batch.kubernetes.io/job-name={job}")


def test_a_killed_pod_leaves_every_row_once_and_in_order(
    onto: Onto, api: Cluster, data: Data, released: str, tmp_path: Path
) -> None:
    files = {
        f"in/{name}.jsonl": some_rows(count, count) for name, count in (("b", 9000), ("a", 2500), ("c", 4500))
    }
    for name, rows in files.items():
        data.put(name, rows)
    command = ("predict", released, "--release", "1", "--input", f"{data.url}/in/*.jsonl", *SMALL)
    started = onto.ok(*command, "--output", f"{data.url}/out", "--detach")
    assert (started["shards"], started["left"]) == (4, 4)
    first = wait_for(
        "a running pod",
        lambda: next(
            (pod for pod in pods_of(api, started["job"]) if pod["status"].get("phase") == "Running"), None
        ),
        240,
    )
    api.delete("Pod", first["metadata"]["name"])
    ran = onto(*command, "--output", f"{data.url}/out", "--json", timeout=600)
    assert ran.code == 0, ran.stderr
    assert "is running already; it is followed" in ran.stderr
    assert ran.json["rows"] == 16_000
    assert len(pods_of(api, started["job"])) >= 4
    text = (data.bucket.get("out/_manifest.json") or (b"",))[0]
    manifest = Manifest.model_validate_json(text)
    assert data.bucket.stat("out/_SUCCESS") is not None
    ranges = [one for part in manifest.parts for one in part.ranges]
    assert [one.file.rpartition("/")[2] for one in ranges] == sorted(
        one.file.rpartition("/")[2] for one in ranges
    )
    given = [json.loads(line)["label"] for part in data.parts("out") for line in part.splitlines()]
    whole, single = tmp_path / "whole.jsonl", tmp_path / "single.jsonl"
    whole.write_text("".join(json.dumps(row) + "\n" for name in sorted(files) for row in files[name]))
    onto.ok(
        "predict", released, "--offline", "--input", str(whole), "--output", str(single)
    )  # as quick as release 2 is
    assert given == [json.loads(line)["label"] for line in single.read_text().splitlines()]
    assert onto.ok(*command, "--output", f"{data.url}/out")["before"] == 4


def test_a_wrong_row_is_told_and_the_others_are_as_offline(
    onto: Onto, data: Data, released: str, tmp_path: Path
) -> None:
    rows = some_rows(8000, 3)
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows[2600] = {"x": "wide", "y": 0.5}
    data.put("in.jsonl", rows)
    command = ("predict", released, "--input", f"{data.url}/in.jsonl", "--output", f"{data.url}/out", *SMALL)
    ran = onto(*command, "--json", timeout=600)
    assert ran.code == 1, ran.stderr
    (failed,) = ran.json["failed"]
    assert failed["shard"] == 1
    for words in (f"{data.url}/in.jsonl: rows 2000 to 2999", "'x' of row 2600: received the text \"wide\""):
        assert words in failed["message"]
        assert words in ran.stderr
    single = tmp_path / "single.jsonl"
    onto.ok(
        "predict", released, "--offline", "--input", str(tmp_path / "good.jsonl"), "--output", str(single)
    )
    lines = single.read_text().splitlines(keepends=True)
    assert data.parts("out") == ["".join(lines[start : start + 2000]) for start in (0, 4000, 6000)]
    assert data.bucket.stat("out/_SUCCESS") is None
    again = onto(*command, "--json", timeout=600)
    assert again.code == 1
    assert "1 pods" in again.stderr
    assert again.json["before"] == 3


def followed(onto: Onto, *command: str) -> subprocess.Popen[str]:
    """A process that takes Ctrl-C, also where this one was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            onto.argv(*command),
            env=onto.environment(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_ctrl_c_leaves_the_job_and_a_deleted_job_is_gone_on_with(
    onto: Onto, api: Cluster, data: Data, released: str
) -> None:
    data.put("a.jsonl", some_rows(1000, 1))
    data.put("b.jsonl", some_rows(24_000, 2))
    command = ("predict", released, "--release", "1", "--shards", "2", "--cpu", "0.5", "--memory", "512Mi")
    command += ("--input", f"{data.url}/?.jsonl", "--output", f"{data.url}/out")
    with followed(onto, *command) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "2 pods" in first, first
        job = first.split()[1].rstrip(":")
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 1
    assert f"job {job} continues in the cluster" in told
    assert api.get("Job", job) is not None
    with followed(onto, *command) as process:
        assert process.stderr is not None
        assert "it is followed" in process.stderr.readline()
        assert api.delete("Job", job)
        told = process.stderr.read()
    assert process.returncode == 1
    assert "its Job was deleted" in told
    assert data.bucket.stat("out/_SUCCESS") is None
    ran = onto(*command, "--json", timeout=600)
    assert (ran.code, ran.json["rows"]) == (0, 25_000), ran.stderr
    assert sum(part.count("\n") for part in data.parts("out")) == 25_000
