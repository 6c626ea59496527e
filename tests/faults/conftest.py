"""Real faults on real processes: waiting for a moment, striking, and looking at what is left."""

import hashlib
import http.client
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

from tidegate.infra.system import processes
from tidegate.pipelines.executors.forking.warm import SERVER, living

from ..conftest import Cli, Ran
from ..forked import Forked

T = TypeVar("T")
Runs = dict[str, list[dict[str, Any]]]

QUICK = [
    "--set",
    "training.epochs=8",
    "--set",
    "gate={metric: test_accuracy, minimum: 0.8, improve_on_champion: null}",
]
SETTLE_S = 20.0  # on a machine that does much else too

os.environ.pop("MLFLOW_TRACKING_URI", None)


def wait_for(what: str, probe: Callable[[], T | None], timeout: float = 180) -> T:
    """Ask until the answer is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    pytest.fail(f"{what}: not within {timeout:g} s")


def wait(submit: Forked, timeout: float = 300) -> Ran:
    """Wait for a started command; it must close its output too."""
    stdout, stderr = submit.communicate(timeout=timeout)
    return Ran(submit.returncode, stdout, stderr)


def read_record(cli: Cli, run: str) -> dict[str, Any]:
    """The record of a run, as it is on disk."""
    record: dict[str, Any] = json.loads((cli.home / "runs" / run / "run.json").read_bytes())
    return record


def known_runs(cli: Cli) -> set[str]:
    """Every run that has a record."""
    return {path.parent.name for path in cli.home.glob("runs/*/run.json")}


def new_run(cli: Cli, before: set[str]) -> str:
    """The run that a submit just began."""
    return wait_for("a new run", lambda: known_runs(cli) - before).pop()


def begun(cli: Cli, run: str) -> list[str]:
    """Steps that a run has begun, in order."""
    return [step["step"] for step in read_record(cli, run)["steps"]]


def workers(cli: Cli) -> list[psutil.Process]:
    """The living step processes of the home."""
    return [one for one in cli.processes() if "tidegate.pipelines.executors.worker" in words_of(one)]


def fork_servers(submit: Forked) -> list[psutil.Process]:
    """The fork servers that a submit has started so far and that end with it."""
    found = psutil.Process(submit.pid).children()
    words = [words_of(one) for one in found]
    return [one for one, said in zip(found, words, strict=True) if SERVER in said and "--stay" not in said]


def words_of(process: psutil.Process) -> list[str]:
    """A process's command line; nothing once it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def pid_of(cli: Cli, name: str) -> int:
    """Process id in a process record of the home."""
    found = processes.recorded(cli.home / "processes", name)
    assert found is not None
    return found.pid or 0  # 0: its starter was killed before there was a process


def endpoint_state(cli: Cli, name: str = "digits") -> dict[str, Any]:
    """The release document of an endpoint."""
    state: dict[str, Any] = json.loads(
        (cli.home / "store" / "docs" / "endpoints" / f"{name}.json").read_bytes()
    )
    return state


def strays(cli: Cli) -> list[str]:
    """Processes of the home that are no MLflow server, no server of a live release and no fork server that stays."""
    allowed = {"mlflow", *(record.name for record in living(cli.home / "processes"))}
    for path in cli.home.glob("store/docs/endpoints/*.json"):
        state = json.loads(path.read_bytes())
        allowed.add(f"endpoint-{state['name']}.{state['incarnation']}.{state['current']}")
    pids = {pid_of(cli, name) for name in allowed if (cli.home / "processes" / f"{name}.json").exists()}
    return [f"{one.pid} {' '.join(words_of(one))}" for one in cli.processes() if one.pid not in pids]


def settles(cli: Cli) -> None:
    """Whatever a dead submit left must end by itself."""
    deadline = time.monotonic() + SETTLE_S
    while strays(cli) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert strays(cli) == []


def check_store(cli: Cli) -> None:
    """Every object has its digest, every finished step has all its objects."""
    objects = cli.home / "store" / "objects"
    known = set()
    for path in objects.glob("[0-9a-f][0-9a-f]/[0-9a-f]*"):
        digest = path.name.partition(".")[0]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, path
        known.add(digest)
    for path in cli.home.glob("store/docs/*/*.json"):
        missing = set(digests_in(json.loads(path.read_bytes()))) - known
        assert not missing, f"{path} names what is not there"


def digests_in(value: Any) -> list[str]:
    """Digests of all references within a document."""
    if isinstance(value, dict) and value.keys() == {"digest", "size", "name"}:
        return [value["digest"]]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [digest for one in inner for digest in digests_in(one)]


def ask_mlflow(url: str, path: str, body: Any = None, **query: str) -> Any:
    """One call of MLflow's REST API: POST with a body, else GET."""
    address = f"{url}/api/2.0/mlflow/{path}?{urlencode(query)}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def mlflow_runs(cli: Cli, run: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The parents and the children that MLflow has of a run."""
    url = cli.ok("ui")["url"]
    experiments = ask_mlflow(url, "experiments/search", {"max_results": 100})["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    body = {"experiment_ids": ids, "filter": f"tags.`tidegate.run` = '{run}'", "max_results": 100}
    found = ask_mlflow(url, "runs/search", body).get("runs", [])
    children = [one for one in found if "mlflow.parentRunId" in tags_of(one)]
    return [one for one in found if one not in children], children


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    """Tags of a MLflow run."""
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def check_mlflow(cli: Cli, run: str) -> tuple[str, str]:
    """One finished parent with one finished child; return their ids."""
    parents, children = mlflow_runs(cli, run)
    assert [(len(parents), len(children))] == [(1, 1)]
    assert [one["info"]["status"] for one in (*parents, *children)] == ["FINISHED", "FINISHED"]
    ids = [str(one["info"]["run_id"]) for one in (*parents, *children)]
    assert tags_of(children[0])["mlflow.parentRunId"] == ids[0]
    return ids[0], ids[1]


def champion_run(cli: Cli, name: str = "digits") -> str | None:
    """The MLflow run of the version with the alias champion, or None."""
    try:
        query = {"name": name, "alias": "champion"}
        found = ask_mlflow(cli.ok("ui")["url"], "registered-models/alias", **query)
    except HTTPError as error:
        assert error.code in (400, 404)
        return None
    return str(found["model_version"]["run_id"])


def row_of(answer: dict[str, Any]) -> bytes:
    """The body of an answer's curl line."""
    return str(answer["curl"]).partition("-d '")[2].rstrip("'").encode()


def predict(url: str, body: bytes) -> dict[str, Any]:
    """Ask an endpoint over a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.read())
        return found
    finally:
        connection.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A home for the tests of one file; whatever runs in it is stopped, and nothing may be left."""
    cli = Cli(Path(tmp_path_factory.mktemp("faults")) / "home")
    yield cli
    cli("down")
    assert cli.processes() == []
