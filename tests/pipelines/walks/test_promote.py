"""A release goes from one home to another: the same bytes, proved there, with its history; killed, it goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.tiny import write_experiment
from tests.conftest import Cli
from tests.infra.conftest import Lossy
from tests.pipelines.promoted import change_entries, changed, plant, without
from tidegate.infra.errors import ConflictError, TrackingError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.registry import champion
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.pipelines.driver.mlflow_sync import follow_release
from tidegate.pipelines.state.bundles import bundle_refs
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import EndpointState, load, update

NAME = "tide"
ROWS = [{"a": a, "b": a % 5} for a in range(17)]
Promote = Callable[..., list[str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A home with two releases; wherever the first one goes live, no other stays."""
    cli = Cli(tmp_path_factory.mktemp("source") / "home")
    first = write_experiment(tmp_path_factory.mktemp("first"), NAME, "serving: {keep: 1}")
    cli.ok("submit", str(first), "-m", "the first one")
    second = write_experiment(tmp_path_factory.mktemp("second"), NAME, period=13)
    cli.ok("submit", str(second), "-m", "new data")
    yield cli
    cli("down")


@pytest.fixture
def there(cli: Cli, source: Cli) -> Cli:
    """An empty home that trusts the source's key."""
    (file,) = (source.home / "keys" / "trusted").glob("*.pub")
    cli.home.mkdir()
    cli.ok("signing", "trust", str(file))
    return cli


@pytest.fixture
def promote(cli: Cli) -> Promote:
    return lambda *more: ["promote", NAME, "--from", "local", "--to", str(cli.home), *more]


def state_of(cli: Cli) -> EndpointState:
    return load(Home(cli.home).store, NAME)


def answers(url: str) -> Any:
    with Client(url) as client:
        return client.predict(ROWS)


def promoted(cli: Cli) -> list[tuple[int, str]]:
    """What the history has of promotions: the release's number and the reason."""
    entries = cli.ok("history", "--verify")["entries"]
    return [(one["facts"]["release"], one["reason"]) for one in entries if one["kind"] == "promoted"]


def test_a_key_that_is_not_trusted(source: Cli, cli: Cli, promote: Promote) -> None:
    cli.home.mkdir()
    ran = source(*promote("--dry-run"))
    assert ran.code == 2 and f"`tidegate signing trust FILE --home {cli.home}`" in ran.stderr
    assert list(cli.home.iterdir()) == []
    assert Home(cli.home).path == cli.home
    (file,) = (source.home / "keys" / "trusted").glob("*.pub")
    ran = source(*promote())
    assert ran.code == 2
    assert (
        f"expected one that is trusted (none); trust it if you know whose it is: `tidegate signing trust {file} "
        in (ran.stderr)
    )
    assert f"--home {cli.home}`" in ran.stderr
    assert Home(cli.home).store.keys() == [] and list(Home(cli.home).store.objects()) == []
    cli.ok("signing", "trust", str(file))
    assert source.ok(*promote("--dry-run"))["signature"] == file.stem


def test_bytes_answers_and_history(source: Cli, there: Cli, promote: Promote) -> None:
    plan = source.ok(*promote("--dry-run"))
    assert (plan["promoted"], plan["replaces"], plan["origin"]["release"]) == (False, None, 2)
    assert Home(there.home).store.keys() == [] and not there.processes()
    done = source.ok(*promote("-m", "as agreed"))
    assert (done["promoted"], done["release"]) == (True, 1)
    assert done["rows"] > 10
    ours, theirs = Home(source.home), Home(there.home)
    live = state_of(source).release(2)
    assert {
        ref.name: theirs.store.fetch(ref).read_bytes() for ref in bundle_refs(theirs.store, live.bundle)
    } == {ref.name: ours.store.fetch(ref).read_bytes() for ref in bundle_refs(ours.store, live.bundle)}
    assert answers(done["url"]) == answers(f"http://127.0.0.1:{state_of(source).port}")

    away = source.home.with_name("away")  # what the target says, it says without the source
    source.home.rename(away)
    try:
        assert promoted(there) == [(1, "as agreed")]
        told, traced = there("history"), there("trace", NAME)
        who = there.ok("history")["entries"][0]["actor"]["user"]
        assert f"from local, release 2, by {who} there: new data; as agreed" in told.stdout
        assert f"release 2, {there.ok('trace', NAME)['origin']['place']}" in traced.stdout
        assert "released there" in traced.stdout and traced.code == 0
        document = there.ok("trace", NAME)
        assert document["signature"]["valid"] and document["run"] == live.run
        assert len(document["origin"]["plan"]) == 64
        assert there.ok("prove", NAME)["proved"]
        change_entries(Home(there.home), "as agreed", "as ordered")
        ran = there("history", "--verify")
        assert ran.code == 1 and "entry 1 was changed: key" in ran.stdout
        change_entries(Home(there.home), "as ordered", "as agreed")
        assert there("history", "--verify").code == 0
    finally:
        away.rename(source.home)

    again = source(*promote())
    assert again.code == 0 and "is live at" in again.stdout and "already" in again.stdout
    assert promoted(there) == [(1, "as agreed")]


def test_one_after_the_other_and_back(source: Cli, there: Cli, promote: Promote) -> None:
    first = source.ok(*promote("--release", "2"))
    before = answers(first["url"])
    second = source.ok(*promote("--release", "1"))
    assert (second["release"], second["url"]) == (2, first["url"])
    assert second["forgotten"] == [1]  # as its serving.keep says
    assert answers(second["url"]) != before
    assert [known.number for known in state_of(there).releases] == [2]
    third = source.ok(*promote("--release", "2"))
    assert third["release"] == 3 and answers(third["url"]) == before
    ran = source(*promote("--release", "1"))
    assert ran.code == 2 and "as release 2, which another one has replaced since" in ran.stderr
    assert there.ok("rollback", NAME, "-m", "it was better")["release"] == 2
    assert there.ok("history", "--verify")["entries"][-1]["kind"] == "rolled_back"
    there.ok("down")
    there.ok("up")
    assert answers(second["url"]) != before


def test_at_once(source: Cli, there: Cli, promote: Promote) -> None:
    """Two releases, and one of them twice: each is released once, or refused because another one was faster."""
    source.ok(*promote("--release", "2", "-m", "before"))
    numbers = ("1", "1", "2")
    started = [source.start(*promote("--release", number, "-m", number, "--json")) for number in numbers]
    ended = [process.communicate(300) for process in started]
    codes = [process.returncode for process in started]
    assert codes[0] == codes[1] == 0 and codes[2] in (0, 2), ended
    assert promoted(there) == [(1, "before"), (2, "1")]
    assert [known.number for known in state_of(there).releases if known.state == "live"] == [2]


def test_killed_in_the_middle(source: Cli, there: Cli, promote: Promote) -> None:
    before = source.ok(*promote("--release", "2"))
    old = answers(before["url"])
    moments: list[Callable[[EndpointState], bool]] = [
        lambda _: bool(Home(there.home).store.keys("promotions/")),
        lambda state: state.releases[-1].state == "pending",
    ]
    for reached in moments:
        process = source.start(*promote("--release", "1"))
        while not reached(state_of(there)) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert state_of(there).current == 1 and answers(before["url"]) == old
    done = source.ok(*promote("--release", "1"))
    assert done["release"] == 2 and done["rows"] > 10
    assert answers(before["url"]) != old
    assert len(promoted(there)) == 2 and Home(there.home).store.keys("promotions/") == []
    lines = [one.cmdline() for one in there.processes()]
    assert [line[line.index("--release") + 1] for line in lines if "--release" in line] == ["2"]


def test_one_that_answers_wrong_there_gets_no_traffic(source: Cli, there: Cli, promote: Promote) -> None:
    """The trained model's answers are changed, and all of it signed again: only the proof can tell."""
    source.ok(*promote("--release", "2"))
    old, home = state_of(there), Home(source.home)
    number, digest = plant(home, NAME, there.home.with_name("planted"))
    try:
        ran = source(*promote("--release", str(number)))
    finally:
        update(home.store, NAME, lambda state: without(state, number), ConflictError)
    assert ran.code == 1 and "golden rows were answered wrong" in ran.stderr
    assert state_of(there).current == old.current
    assert [known.state for known in state_of(there).releases] == ["live", "failed"]
    assert len(promoted(there)) == 1 and digest
    assert there.ok("prove", NAME)["proved"]


def test_the_alias_of_mlflow(
    source: Cli, there: Cli, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the model where both targets use one server, and none where the model is in another one."""
    source.ok(*promote())
    uri = mlflow_server.url(source.home)
    assert uri is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    home, origin = Home(there.home), state_of(there).release(1).origin
    assert origin is not None and origin.tracked
    assert follow_release(home, NAME)
    assert champion(Tracker(uri), NAME) == origin.tracked
    with Lossy(uri) as lossy:
        thread = threading.Thread(target=lossy.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", lossy.url)
        follow_release(home, NAME)
        for number in range(1, lossy.count + 1):  # a moment's trouble anywhere takes no alias away
            lossy.arm(number, answered=False)
            with contextlib.suppress(TrackingError):
                follow_release(home, NAME)
            assert lossy.count >= number and champion(Tracker(uri), NAME) == origin.tracked
        lossy.shutdown()
        thread.join()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    elsewhere = origin.model_copy(update={"tracked": "0" * 32})
    update(home.store, NAME, lambda state: changed(state, 1, {"origin": elsewhere}), ConflictError)
    assert follow_release(home, NAME) == ""
    assert champion(Tracker(uri), NAME) is None


def test_the_next_run_there(source: Cli, there: Cli, promote: Promote, tmp_path: Path) -> None:
    """The run of what is live there stayed at the source, and a run there replaces it all the same."""
    source.ok(*promote())
    file = str(write_experiment(tmp_path, NAME, period=11))
    planned = there.ok("plan", file)
    assert planned["changes"] == []
    assert planned["not_compared"].startswith(
        "not compared with live release 1: it came from release 2 of local"
    )
    done = there.ok("submit", file)
    assert (done["status"], done["release"]) == ("done", 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--from", "local", "--to", "local"), "are both"),
        (("--from", "local", "--to", "staging"), 'no target "staging"'),
        (("--from", "local", "--to", "./none"), "is no home"),
        (("--from", "local", "--to", "{there}", "--release", "7"), "no release 7"),
        (("--from", "local", "--to", "{there}", "-m", "x" * 2001), "has 2001 characters"),
    ],
)
def test_bad_input(source: Cli, there: Cli, given: tuple[str, ...], said: str) -> None:
    ran = source("promote", NAME, *(one.format(there=there.home) for one in given))
    assert ran.code == 2 and said in ran.stderr


def test_a_target_that_is_down(source: Cli, tmp_path: Path) -> None:
    targets = tmp_path / "targets.yaml"
    targets.write_text(
        "far: {context: none, store: {url: 's3://bucket/far', endpoint: 'http://127.0.0.1:9'}, mlflow: 'http://h'}\n"
    )
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "KUBECONFIG": str(tmp_path / "none")}
    cli = Cli(source.home, {"TIDEGATE_TARGETS": str(targets), **keys})
    before = state_of(source)
    ran = cli("promote", NAME, "--from", "local", "--to", "far")
    assert ran.code == 1 and "127.0.0.1:9" in ran.stderr
    assert state_of(source) == before
