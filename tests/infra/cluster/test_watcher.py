"""Of thousands of Jobs the driver keeps those that run: what a watch or a list says of others is dropped."""

import time
from pathlib import Path
from typing import cast

from tests.pipelines.executors.pod_cluster import Object, PodCluster
from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.watcher import ObjectWatcher

LABEL = "tidegate.dev/step-id"


def job(name: str) -> Object:
    container = {"command": ["python", "-c", "pass"]}
    template = {"metadata": {"labels": {LABEL: name}}, "spec": {"containers": [container]}}
    return {
        "kind": "Job",
        "metadata": {"name": name, "labels": {LABEL: name}},
        "spec": {"template": template},
    }


def known(watcher: ObjectWatcher, name: str) -> bool:
    return watcher.find("Job", name) is not None or bool(watcher.choose("Pod", name))


def until(watcher: ObjectWatcher, name: str) -> None:
    deadline = time.monotonic() + 60
    while not (watcher.find("Job", name) and watcher.choose("Pod", name)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_ended_step_is_forgotten_and_a_new_one_of_its_name_is_seen(tmp_path: Path) -> None:
    cluster = PodCluster(tmp_path, "s3://none")
    watcher = ObjectWatcher(cast(Cluster, cluster), "", LABEL)
    try:
        for name in ("train-0", "train-1"):
            cluster.create(job(name))
            until(watcher, name)
        watcher.forget("train-0")
        assert not known(watcher, "train-0")
        assert known(watcher, "train-1")
        cluster.delete("Job", "train-0")
        cluster.create(job("train-0"))  # not expected
        cluster.create(job("train-2"))
        until(watcher, "train-2")
        assert not known(watcher, "train-0")
        watcher.expect("train-3")
        watcher.expect("train-0")
        cluster.delete("Job", "train-0")
        cluster.create(job("train-0"))
        until(watcher, "train-0")
        fresh = ObjectWatcher(cast(Cluster, cluster), "", LABEL)
        until(fresh, "train-0")
        fresh.stop()
    finally:
        watcher.stop()
        cluster.close()
