"""What must hold of a home after a submit that a fault ended, and after the same submit again."""

import hashlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import Cli
from tests.faults.conftest import digests_in, predict, row_of, strays, tags_of
from tests.faults.store.faults import SAID
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.store import FolderStore
from tidegate.infra.system.locks import is_held
from tidegate.pipelines.history.entries import contents, head_of, parsed, problem
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, load

NAME = "wine"
SETTLE_S = 20.0
SYNC_S = 180.0  # a failed run's sync goes on by itself, and MLflow may be slow
_row = b""  # of the first answer: every release takes it
_whole: set[Path] = set()  # objects whose digest was found to be right


def known_runs(home: Path) -> set[str]:
    """Every run that has a record."""
    return {path.parent.name for path in home.glob("runs/*/run.json")}


def after_a_failure(home: Path, new: set[str], *, failed: bool, down: bool) -> list[str]:
    """What is wrong right after a submit that met a fault.

    Args:
        home: its folder.
        new: the runs that it began.
        failed: whether it told of an error.
        down: the store answers no more: nobody can say then which release is live, and its server stays.
    """
    return [
        *(text for run in new for text in _record(home, run, failed)),
        *_left(home),
        *_objects(home),
        *([] if down else [*_processes(home), *_endpoint(home)]),
    ]


def after_the_next(home: Path, answer: dict[str, Any]) -> list[str]:
    """What is wrong after the same submit again, whose answer is given."""
    global _row
    _row = _row or row_of(answer)
    state, run = load(FolderStore(home / "store"), NAME), str(answer["run"])
    own = [release.number for release in state.releases if release.run == run and release.state != "failed"]
    found = [
        (answer["status"] == "done" and answer["synced"], f"it is {answer['status']}"),
        (own == [answer["release"]] == [state.current], f"releases {own}, live is {state.current}"),
    ]
    return [
        *(text for right, text in found if not right),
        *_left(home),
        *_processes(home),
        *_endpoint(home),
        *_objects(home),
        *_history(home, run),
        *_mlflow(home, run),
    ]


def _record(home: Path, run: str, failed: bool) -> Iterator[str]:
    record = Home(home).folder_of(run).read()
    if record.status == "done":  # an error came later: the answer could not be read
        return
    if record.status != "failed" or not failed:
        yield f"the run is {record.status} after {'an error' if failed else 'none'}"
    if SAID not in record.reason:
        yield f"the run's reason is {record.reason!r}"


def _left(home: Path) -> Iterator[str]:
    """Locks that are held, and files of who has ended."""
    yield from (f"{path.name} is held" for path in home.rglob("*.lock") if is_held(path))
    for pattern in ("**/.tmp-*", "bundles/.*", "runs/*/work/*", "store/**/.tmp-*"):
        yield from (f"{path.relative_to(home)} is left" for path in home.glob(pattern))


def _processes(home: Path) -> list[str]:
    """What runs and should not, once what ends by itself had time to."""
    began = time.monotonic()
    while found := strays(Cli(home)):
        waited = time.monotonic() - began
        if waited > (SYNC_S if any("mlflow_sync" in one for one in found) else SETTLE_S):
            break
        time.sleep(0.2)
    return [f"still runs: {one}" for one in found]


def _endpoint(home: Path) -> Iterator[str]:
    """One release is live, and answers."""
    state = load(FolderStore(home / "store"), NAME)
    live = [release.number for release in state.releases if release.state == "live"]
    if live != ([] if state.current is None else [state.current]):
        yield f"releases {live} are live, the pointer names {state.current}"
    if state.current is not None and _row:
        yield from _answers(state)


def _answers(state: EndpointState) -> Iterator[str]:
    try:
        release = predict(f"http://127.0.0.1:{state.port}", _row)["release"]
    except (OSError, AssertionError) as error:
        yield f"release {state.current} is live and does not answer: {error!r}"
        return
    if release != state.current:
        yield f"release {release} answers, the pointer names {state.current}"


def _objects(home: Path) -> Iterator[str]:
    """Every object has its digest, and what documents name is there."""
    known = set()
    for path in (home / "store" / "objects").glob("??/*"):
        digest = path.name.partition(".")[0]
        known.add(digest)
        if path not in _whole and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{path.name} is damaged"
        _whole.add(path)
    for path in (home / "store" / "docs").glob("*/*.json"):
        if set(digests_in(json.loads(path.read_bytes()))) - known:
            yield f"{path.parent.name}/{path.name} names what is not there"


def _history(home: Path, run: str) -> Iterator[str]:
    """Each release is told once, and nothing waits to be."""
    store = FolderStore(home / "store")
    known = contents(store)
    wrong = problem(known, head_of(store))
    if wrong:
        yield wrong
    entries = [entry for content in known.values() if (entry := parsed(content)) is not None]
    told = [entry.event.kind for entry in entries if entry.event.run == run]
    if told != ["released"]:
        yield f"the history tells of the run: {told}"
    waiting = [*store.keys("history/waiting/"), *(event.kind for event in load(store, NAME).events)]
    if waiting:
        yield f"not in the history yet: {waiting}"


def _mlflow(home: Path, run: str) -> Iterator[str]:
    """One finished parent and one finished child."""
    url = mlflow_server.ensure(home)
    found = _asked(url, "experiments/search", {"max_results": 1000})["experiments"]
    body = {
        "experiment_ids": [experiment["experiment_id"] for experiment in found],
        "filter": f"tags.`tidegate.run` = '{run}'",
    }
    runs = _asked(url, "runs/search", body).get("runs", [])
    children = [one for one in runs if "mlflow.parentRunId" in tags_of(one)]
    statuses = [one["info"]["status"] for one in runs]
    if (len(runs), len(children)) != (2, 1) or set(statuses) != {"FINISHED"}:
        yield f"MLflow has {len(children)} children of {len(runs)} runs, {statuses}"


def _asked(url: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
