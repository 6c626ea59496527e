"""One real MLflow server for all tests, and a way to lose its answers."""

import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.follow import follow
from tidegate.infra.mlflow.replay import Progress
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.store import FolderStore, Ref

os.environ.pop("MLFLOW_TRACKING_URI", None)

EPOCHS = 4


class Server(NamedTuple):
    """A living MLflow server."""

    home: Path
    url: str


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    url = mlflow_server.ensure(home)
    try:
        mlflow_server.wait_ready(url, 90, home)
        yield Server(home, url)
    finally:
        assert mlflow_server.stop(home)
        assert mlflow_server.url(home) is None


class Lossy(ThreadingHTTPServer):
    """Passes requests on to a server; drops one, either before the server gets it or with its answer."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), LossyHandler)
        self.behind = urlsplit(behind)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.count = 0
        self.lose = 0
        self.answered = False
        self.login: str | None = None  # the Authorization header that each request needs
        self.prefix = ""  # the path below which the server is reached

    def arm(self, number: int, answered: bool) -> None:
        """Lose the `number`-th request from now; `answered`: the server did what it asked."""
        self.count, self.lose, self.answered = 0, number, answered


class LossyHandler(BaseHTTPRequestHandler):
    server: Lossy

    def log_message(self, *args: object) -> None: ...

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.close_connection = True
        self.server.count += 1
        lost = self.server.count == self.server.lose
        if lost and not self.server.answered:
            return
        if self.server.login not in (None, self.headers.get("Authorization")):
            self.send_error(401)
            return
        onward = http.client.HTTPConnection(str(self.server.behind.hostname), self.server.behind.port)
        onward.request(
            self.command,
            self.path.removeprefix(self.server.prefix),
            body,
            dict(self.headers) | {"Host": self.server.behind.netloc},
        )
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        if lost:
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on


@pytest.fixture
def lossy(mlflow: Server) -> Iterator[Lossy]:
    with Lossy(mlflow.url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


class Told:
    """A run's spools with everything that a run tells, and what MLflow made of them."""

    def __init__(self, home: Path, run: str) -> None:
        self.store = FolderStore(home / "store")
        self.folder = home / "spool" / run
        self.run = run
        self.start = int(time.time() * 1000) - 60_000

    def write(self, experiment: str = "digits") -> None:
        """One parent, one trial of EPOCHS epochs."""
        parent, child = Spool(self.folder), Spool(self.folder, "trial-0")
        parent.write("run", "run", name=self.run, experiment=experiment, tags={"who": "test"}, t=self.start)
        child.write("run", "run", name=f"{self.run}/0", experiment=experiment, t=self.start + 1)
        child.write("params", "params", values={"training": {"optimizer": {"learning_rate": 0.1}}, "seed": 7})
        for epoch in range(EPOCHS):
            self.epoch(child, epoch)
        child.write("system", "system-0", step=0, values={"cpu_utilization_percentage": 50.0})
        self.finish(child)
        parent.write(
            "end", "end", status="refused", reason="accuracy 0.5 is below 0.9", t=self.start + 50_000
        )

    def epoch(self, child: Spool, epoch: int) -> None:
        values = {"loss": 1.0 / (epoch + 1), "val_loss": float("nan")}
        child.write("metrics", f"epoch-{epoch}", step=epoch, values=values, t=self.start + 1000 * epoch)

    def finish(self, child: Spool) -> None:
        """Dataset, files, pictures, model, end."""
        schema = {
            "inputs": [{"name": "image", "kind": "image", "dtype": "uint8", "shape": [8, 8]}],
            "target": {"names": ["label"], "task": "classification", "classes": [0, 1]},
        }
        for split in ("training", "test"):
            source = {"fingerprint": "f"}
            child.write(
                "dataset",
                split,
                name=split,
                digest="ab" * 32,
                source=source,
                context=split,
                schema=schema,
                profile={},
            )
        child.write(
            "artifact", "transforms", ref=self.put("transforms.json", b"{}"), path="data/transforms.json"
        )
        child.write("figures", "figures", ref=self.put("report.json", b"{}"))
        child.write(
            "model",
            "model",
            ref=self.put("model.keras", b"not really"),
            onnx=self.put("model.onnx", b"neither"),
            inputs=[{"name": "image", "dtype": "float32", "shape": [-1, 2, 2]}],
            outputs=[{"name": "output", "dtype": "float32", "shape": [-1, 2]}],
            input_example={"image": [[[0.0, 1.0], [2.0, 3.0]]]},
            requirements=["keras==3.15.1"],
        )
        child.write("end", "end", status="done", t=self.start + 40_000)

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        path = self.folder.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.store.put(path).model_dump()

    def follow(self, url: str, **options: Any) -> Progress:
        def fetch(ref: Any) -> Path:
            return self.store.fetch(Ref(**ref))

        def render(_: Any) -> list[tuple[str, bytes]]:
            return [("curves.png", b"\x89PNG curves"), ("confusion.png", b"\x89PNG confusion")]

        return follow(self.folder, url, fetch=fetch, render=render, **options)

    def check(self, tracker: Tracker) -> None:
        """Everything is in MLflow, and in it once."""
        experiment = tracker.client.get_experiment_by_name("digits").experiment_id
        runs = tracker.runs(experiment, self.run)
        assert {name: len(ids) for name, ids in runs.items()} == {"run": 1, "trial-0": 1}
        (parent_id,), (child_id,) = runs["run"], runs["trial-0"]
        parent, child = tracker.client.get_run(parent_id), tracker.client.get_run(child_id)
        assert parent.info.status == child.info.status == "FINISHED"
        assert parent.data.tags["tidegate.refused"] == "accuracy 0.5 is below 0.9"
        assert (parent.info.start_time, parent.info.end_time) == (self.start, self.start + 50_000)
        assert child.data.tags["mlflow.parentRunId"] == parent_id
        assert child.data.params == {"training.optimizer.learning_rate": "0.1", "seed": "7"}
        history = tracker.client.get_metric_history(child_id, "loss")
        assert [(p.step, p.timestamp) for p in history] == [(e, self.start + 1000 * e) for e in range(EPOCHS)]
        assert len(tracker.client.get_metric_history(child_id, "val_loss")) == EPOCHS
        assert child.data.metrics["system/cpu_utilization_percentage"] == 50.0
        assert sorted(d.dataset.name for d in child.inputs.dataset_inputs) == ["test", "training"]
        columns = json.loads(child.inputs.dataset_inputs[0].dataset.schema)["mlflow_colspec"]
        assert columns[0] == {"name": "image", "type": "image uint8 8x8"}
        found = {f.path for f in tracker.client.list_artifacts(child_id, "figures")}
        assert found == {"figures/curves.png", "figures/confusion.png"}
        assert [f.path for f in tracker.client.list_artifacts(child_id, "data")] == ["data/transforms.json"]
        (model,) = tracker.models(experiment, self.run)[child_id]
        assert model.status == "READY"
        assert [output.model_id for output in child.outputs.model_outputs] == [model.model_id]
        assert {metric.key for metric in model.metrics} == {"loss", "val_loss"}


@pytest.fixture
def told(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Told]:
    count = iter(range(1000))
    return lambda: Told(tmp_path, f"{re.sub('[^a-z0-9]+', '-', request.node.name)[:60]}-{next(count)}")


@pytest.fixture(scope="session")
def tracker(mlflow: Server) -> Tracker:
    return Tracker(mlflow.url)
