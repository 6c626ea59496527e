"""The replay against a real MLflow server, one that loses answers, hangs or is gone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.conftest import EPOCHS, Lossy, Server, Told
from tidegate.infra.mlflow import replay, spool, tracking
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.system import processes
from tidegate.infra.system.locks import lock

Make = Callable[[], Told]

REPLAY = """
import sys
from pathlib import Path
from tidegate.infra.mlflow.follow import (follow)
from tidegate.infra.store import FolderStore, Ref
folder, url = Path(sys.argv[1]), sys.argv[2]
store = FolderStore(folder.parents[1] / "store")
render = lambda _: [("curves.png", b"curves"), ("confusion.png", b"confusion")]
print("go", flush=True)
print(follow(folder, url, fetch=lambda ref: store.fetch(Ref(**ref)), render=render).model_dump_json())
"""


def test_everything_arrives_once(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run = told()
    run.write()
    done = run.follow(mlflow.url)
    assert done.synced
    assert done.sent == done.size > 0
    assert done.refused == ()
    run.check(tracker)
    assert run.follow(mlflow.url) == done
    assert [one["synced"] for one in replay.state(run.folder).values()] == [True, True]
    replay.forget(run.folder)
    assert replay.state(run.folder) == {}
    assert run.follow(mlflow.url).synced
    run.check(tracker)


def test_a_parent_gives_a_child_its_figures_and_its_onnx_file(
    mlflow: Server, tracker: tracking.Tracker, told: Make
) -> None:
    """As of a search's winner, whose trial has ended, and was sent, long before."""
    run = told()
    run.write()
    child, parent = Spool(run.folder, "trial-0").path, Spool(run.folder)
    lines = [json.loads(line) for line in child.read_text().splitlines()]
    kept = [
        one | {"onnx": None} if one["kind"] == "model" else one for one in lines if one["kind"] != "figures"
    ]
    child.write_text("".join(f"{json.dumps(one)}\n" for one in kept))
    assert run.follow(mlflow.url).synced
    experiment = tracker.client.get_experiment_by_name("digits").experiment_id
    (child_id,) = tracker.runs(experiment, run.run)["trial-0"]
    (model,) = tracker.models(experiment, run.run)[child_id]

    def files() -> set[str]:
        return {file.path for file in tracker.client.list_logged_model_artifacts(model.model_id)}

    assert not tracker.client.list_artifacts(child_id, "figures")
    assert "model.onnx" not in files()
    parent.write("figures", "figures-trial-0", child="trial-0", ref=run.put("report.json", b"{}"))
    parent.write("model", "model-trial-0", child="trial-0", onnx=run.put("model.onnx", b"neither"))
    for _ in range(2):  # again after MLflow has lost what was sent
        assert run.follow(mlflow.url).synced
        run.check(tracker)
        assert "model.onnx" in files()
        replay.forget(run.folder)


@pytest.mark.parametrize(
    ("answered", "every"),
    [
        pytest.param(False, 6, id="some requests"),
        pytest.param(True, 3, id="some answers"),
        pytest.param(False, 1, id="each request", marks=pytest.mark.slow),
        pytest.param(True, 1, id="each answer", marks=pytest.mark.slow),
    ],
)
def test_any_one_call_may_be_lost(
    lossy: Lossy, tracker: tracking.Tracker, told: Make, answered: bool, every: int
) -> None:
    """As if the replayer were killed before or after each of its calls in turn."""
    run = told()
    run.write()
    lossy.arm(0, answered)
    assert run.follow(lossy.url).synced
    calls = lossy.count
    assert 20 < calls < 60
    for number in range(1, calls + 1, every):
        run = told()
        run.write()
        lossy.arm(number, answered)
        cut = run.follow(lossy.url, patience_s=0.0)
        assert not cut.synced, (number, calls, lossy.count)
        assert "cannot be updated" in cut.problem
        assert run.follow(lossy.url).synced
        run.check(tracker)


def test_killed_replayers_leave_no_double(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run = told()
    run.write()
    argv = [sys.executable, "-c", REPLAY, str(run.folder), mlflow.url]
    for moment in (0.15, 0.4):
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as replayer:
            assert replayer.stdout is not None
            replayer.stdout.readline()
            deadline = time.monotonic() + 30
            while not replay.state(run.folder) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(moment)
            replayer.send_signal(signal.SIGKILL)
    assert run.follow(mlflow.url).synced
    run.check(tracker)


def test_a_server_that_hangs_for_seconds(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run = told()
    run.write()
    record = processes.find(mlflow.home / "processes", "mlflow")
    assert record is not None
    assert record.pid is not None
    env = os.environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    argv = [sys.executable, "-c", REPLAY, str(run.folder), mlflow.url]
    os.kill(record.pid, signal.SIGSTOP)
    try:
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as replayer:
            assert replayer.stdout is not None
            replayer.stdout.readline()
            time.sleep(6)  # its import, and several requests that time out
            os.kill(record.pid, signal.SIGCONT)
            done = replay.Progress.model_validate_json(replayer.stdout.readline())
    finally:
        os.kill(record.pid, signal.SIGCONT)
    assert done.synced
    run.check(tracker)


def test_a_server_that_hangs_while_it_creates(lossy: Lossy, tracker: tracking.Tracker, told: Make) -> None:
    """The worst: the creation is done after the search that was to find it, so there are two for a while."""
    run = told()
    run.write()
    assert run.follow(lossy.url).synced
    experiment = tracker.experiment("digits")
    child = tracker.runs(experiment, run.run)["trial-0"][0]
    event = {"kind": "run", "id": "run", "t": run.start + 1}
    tracker.create(experiment, run.run, "trial-0", event, None)
    tracker.client.create_logged_model(experiment, "model", child, tags={tracking.RUN_TAG: run.run})
    Spool(run.folder, "trial-0").write("end", "end-2", status="done", t=run.start + 40_000)
    assert run.follow(lossy.url).synced
    run.check(tracker)


def test_a_server_that_is_not_there(told: Make) -> None:
    run = told()
    run.write()
    before = time.monotonic()
    done = run.follow("http://127.0.0.1:9", patience_s=1.0)
    assert time.monotonic() - before < 5
    assert not done.synced
    assert done.sent == 0
    assert done.problem.startswith("MLflow at http://127.0.0.1:9 cannot be updated: ")


def test_an_address_that_is_none(told: Make) -> None:
    run = told()
    run.write()
    done = run.follow("ftp://nowhere", patience_s=0.0)
    assert not done.synced
    assert "MLflow at ftp://nowhere cannot be " in done.problem


def test_what_was_sent_is_not_read_again_until_it_grows(
    tracker: tracking.Tracker, told: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read, real = told(), list[str](), spool.read
    for name in ("run", "trial-0", "trial-1"):
        Spool(run.folder, name).write("run", "run", name=name, experiment="digits")
        Spool(run.folder, name).write("end", "end", status="done")

    def counted(path: Path, offset: int = 0) -> Iterator[tuple[spool.Event, int]]:
        read.append(path.stem)
        return real(path, offset)

    monkeypatch.setattr(spool, "read", counted)
    follower = replay.Replay(run.folder, tracker, lambda _: run.folder, lambda _: ())
    assert follower.step()
    read.clear()
    assert not follower.step()
    assert sorted(read) == ["run", "trial-0", "trial-1"]  # once more, to see that there is nothing new
    read.clear()
    assert not follower.step()
    assert read == []
    Spool(run.folder, "trial-0").write("tags", "late", values={"late": True})
    assert follower.step()
    assert read == ["trial-0"]


def test_a_run_is_told_while_it_goes_on(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run, over = told(), threading.Event()
    parent, child = Spool(run.folder), Spool(run.folder, "trial-0")
    results: list[replay.Progress] = []
    follower = threading.Thread(
        target=lambda: results.append(run.follow(mlflow.url, finished=over.is_set, poll_s=0.05))
    )
    follower.start()
    parent.write("run", "run", name=run.run, experiment="digits", tags={"who": "test"}, t=run.start)
    child.write("run", "run", name=f"{run.run}/0", experiment="digits", t=run.start + 1)
    child.write("params", "params", values={"training.optimizer.learning_rate": 0.1, "seed": 7})
    for epoch in range(EPOCHS):
        run.epoch(child, epoch)
        _until(lambda: all(one["synced"] for one in replay.state(run.folder).values()) and _has(run, 2))
    child_id = replay.state(run.folder)["trial-0"]["run_id"]
    assert tracker.client.get_run(child_id).info.status == "RUNNING"
    child.write("system", "system-0", step=0, values={"cpu_utilization_percentage": 50.0})
    run.finish(child)
    reason = "accuracy 0.5 is below 0.9"
    parent.write("end", "end", status="refused", reason=reason, t=run.start + 50_000)
    over.set()
    follower.join(30)
    assert results[0].synced
    run.check(tracker)


def test_the_end_of_a_run_is_seen_at_once(mlflow: Server, told: Make) -> None:
    run, over = told(), threading.Event()
    run.write()
    results: list[replay.Progress] = []

    def follow() -> None:
        results.append(run.follow(mlflow.url, finished=over.is_set, wait=over.wait, poll_s=3600.0))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    _until(lambda: _has(run, 2) and all(one["synced"] for one in replay.state(run.folder).values()))
    over.set()
    follower.join(60)
    assert [done.synced for done in results] == [True]


def _has(run: Told, count: int) -> bool:
    return len(replay.state(run.folder)) == count


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_failed_run_that_is_resumed(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run = told()
    parent = Spool(run.folder)
    parent.write("run", "run", name=run.run, experiment="digits")
    parent.write("end", "end", status="failed", reason="out of memory")
    assert run.follow(mlflow.url).synced
    run_id = replay.state(run.folder)["run"]["run_id"]

    def status() -> str:
        return str(tracker.client.get_run(run_id).info.status)

    assert status() == "FAILED"
    parent.write("tags", "late", values={"note": "a tag does not reopen it"})
    assert run.follow(mlflow.url).synced
    assert status() == "FAILED"
    parent.write("run", "resumed")
    assert run.follow(mlflow.url).synced
    assert status() == "RUNNING"
    parent.write("end", "end-2", status="done")
    assert run.follow(mlflow.url).synced
    assert status() == "FINISHED"


def test_what_mlflow_refuses_does_not_hold_up_the_rest(
    mlflow: Server, tracker: tracking.Tracker, told: Make
) -> None:
    run = told()
    parent = Spool(run.folder)
    parent.write("run", "run", name=run.run, experiment="digits")
    parent.write("params", "a", values={"seed": 7})
    assert run.follow(mlflow.url).synced
    parent.write("params", "b", values={"seed": 8})
    lost = {"digest": "0" * 64, "size": 1, "name": "lost.json"}
    parent.write("artifact", "lost", ref=lost, path="lost.json")
    parent.write("artifact", "kept", ref=run.put("kept.json", b"{}"), path="kept.json")
    parent.write("end", "end", status="done")
    done = run.follow(mlflow.url)
    assert done.synced
    assert len(done.refused) == 2
    assert "seed" in done.refused[0]
    assert "lost.json (000000000000…) is not in the store" in done.refused[1]
    run_id = replay.state(run.folder)["run"]["run_id"]
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert [file.path for file in tracker.client.list_artifacts(run_id)] == ["kept.json"]


def test_one_replayer_at_a_time(mlflow: Server, told: Make) -> None:
    run = told()
    run.write()
    with lock(run.folder / "sync.lock"):
        done = run.follow(mlflow.url, patience_s=0.1)
    assert not done.synced
    assert f"sync.lock is held by process {os.getpid()}" in done.problem


def test_a_run_that_was_purged_is_told_anew(mlflow: Server, tracker: tracking.Tracker, told: Make) -> None:
    run = told()
    run.write()
    assert run.follow(mlflow.url).synced
    known = replay.State.model_validate_json((run.folder / "trial-0.sync.json").read_bytes())
    gone = known.model_copy(update={"run_id": "0" * 32, "offset": 0})
    (run.folder / "trial-0.sync.json").write_text(gone.model_dump_json())
    assert run.follow(mlflow.url).synced
    run.check(tracker)


@pytest.mark.parametrize("whole", [False, True], ids=["runs", "experiment"])
def test_what_was_deleted_in_the_ui_is_restored(
    mlflow: Server, tracker: tracking.Tracker, told: Make, whole: bool
) -> None:
    run = told()
    parent = Spool(run.folder)
    parent.write("run", "run", name=run.run, experiment="tidy")
    parent.write("metrics", "a", step=0, values={"loss": 0.5})
    parent.write("end", "end", status="cancelled")
    assert run.follow(mlflow.url).synced
    known = replay.state(run.folder)["run"]
    if whole:
        tracker.client.delete_experiment(known["experiment_id"])
    else:
        tracker.client.delete_run(known["run_id"])
    parent.write("run", "again")
    parent.write("metrics", "b", step=1, values={"loss": 0.25})
    parent.write("end", "end-2", status="done")
    done = run.follow(mlflow.url)
    assert done.synced and done.refused == ()
    found = tracker.client.get_run(replay.state(run.folder)["run"]["run_id"])
    assert (found.info.lifecycle_stage, found.info.status) == ("active", "FINISHED")
    history = tracker.client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.25)]


def test_urls_are_those_of_the_ui() -> None:
    training = "workflowType=machine_learning"
    page = f"http://h:5000/#/experiments/1/runs/a?{training}"
    assert tracking.run_url("http://h:5000/", "1", "a") == page
    assert tracking.experiments_url("http://h:5000/") == f"http://h:5000/#/experiments?{training}"
    expected = "http://h:5000/#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%5D"
    assert tracking.compare_url("http://h:5000", ["1"], ["a", "b"]) == f"{expected}&{training}"


def test_asking_for_state_needs_no_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from tidegate.infra.mlflow import registry, replay, server; "
        "assert 'mlflow' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True).returncode == 0
    assert replay.state(tmp_path) == {}
