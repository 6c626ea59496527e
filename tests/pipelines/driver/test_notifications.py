"""What a run tells at its end: once for each channel that asks for it, later where it could not be sent, never lost."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.infra.notifications.test_channels import KEY, Receiver, receiver
from tidegate.pipelines.driver.notifications import KEYS, Teller, check_notify, deliver, keep, message_of
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.notify import Notification
from tidegate.pipelines.planning.identity import Facts, content_of
from tidegate.pipelines.state.home import Home, RunRecord

DOCUMENT = {"name": "wine", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}
NOW = time.time()
__all__ = ["receiver"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def secret(home: Home, name: str, **variables: str) -> None:
    path = home.path / "secrets" / f"{name}.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    path.chmod(0o600)


def record(status: str, **more: Any) -> RunRecord:
    facts = {
        "run": "wine-1",
        "name": "wine",
        "endpoint": "wine",
        "created": NOW - 60,
        "finished": NOW,
        "experiment": {},
    }
    return RunRecord.model_validate({**facts, "status": status, **more})


def entries(*documents: dict[str, Any]) -> list[Notification]:
    return validate({**DOCUMENT, "notify": list(documents)}, "here").notify


def told(home: Home, notify: list[Notification], ended: RunRecord) -> list[str]:
    teller = Teller(home, notify)
    teller.learn("select", {"metric": "test_accuracy", "metrics": {"test_accuracy": 0.9}})
    teller.learn("promote", {"release": 3, "url": "http://127.0.0.1:3000"})
    teller.tell(ended)
    return teller.close()


def test_a_run_is_told_where_it_is_asked_for(home: Home, receiver: Receiver) -> None:
    secret(home, "hook", URL=receiver.url, SIGNING_SECRET=KEY)
    notify = entries(
        {"to": "webhook", "secret": "hook"},
        {"to": "slack", "secret": "hook", "on": "failed"},
        {"to": "teams", "secret": "hook", "on": ["cancelled", "rolled_back"]},
    )
    assert told(home, notify, record("done")) == []
    ((headers, body),) = receiver.got
    sent = json.loads(body)
    assert (sent["event"], sent["id"], sent["time"]) == ("released", headers["webhook-id"], NOW)
    assert sent["facts"] == {
        "run": "wine-1",
        "experiment": "wine",
        "endpoint": "wine",
        "metric": "test_accuracy",
        "value": 0.9,
        "release": 3,
        "url": "http://127.0.0.1:3000",
    }
    assert told(home, notify, record("failed", reason="no memory")) == []
    assert [json.loads(body).get("event", "slack") for _, body in receiver.got[1:]] == ["failed", "slack"]
    assert "reason: no memory" in json.loads(receiver.got[2][1])["text"]
    assert told(home, notify, record("cancelled")) == []
    assert len(receiver.got) == 4
    assert home.store.keys(KEYS) == []


def test_it_is_tried_again_at_once_and_with_the_next_run(
    home: Home, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.pipelines.driver.notifications.FIRST_PAUSE_S", 0.01)
    secret(home, "hook", URL=receiver.url)
    notify = entries({"to": "slack", "secret": "hook"})
    receiver.codes = [503, 429, 200]
    assert told(home, notify, record("done")) == []
    assert len(receiver.got) == 3
    receiver.codes = [503]
    keep(home, notify, message_of("failed", record("failed"), NOW + 5, {}))
    (problem,) = deliver(home, 0.05)
    assert problem == (
        "slack was not told that wine-1 failed: 127.0.0.1 answered 503; expected 200 to 299; the next run tries again"
    )
    receiver.codes = [200]
    assert told(home, [], record("done")) == []  # the next run, which itself tells nobody
    assert "*wine-1 failed*" in json.loads(receiver.got[-1][1])["text"]
    assert home.store.keys(KEYS) == []


def test_a_secret_that_is_gone_is_told_and_the_message_waits(home: Home, receiver: Receiver) -> None:
    notify = entries({"to": "slack", "secret": "hook"})
    (problem,) = told(home, notify, record("done"))
    assert "notify: hook: " in problem
    assert "expected a file of NAME=VALUE lines with mode 0600" in problem
    assert len(home.store.keys(KEYS)) == 1
    secret(home, "hook", URL=receiver.url)
    assert deliver(home) == []
    assert len(receiver.got) == 1


def test_what_nobody_takes_for_a_week_is_given_up(home: Home, receiver: Receiver) -> None:
    secret(home, "hook", URL=receiver.url)
    receiver.codes = [500]
    notify = entries({"to": "slack", "secret": "hook"})
    old = message_of("failed", record("failed"), time.time() - 8 * 24 * 3600, {})
    keep(home, notify, old)
    assert len(deliver(home, 0.05)) == 1
    assert home.store.keys(KEYS) == []


def test_the_same_event_is_kept_once(home: Home) -> None:
    notify = entries({"to": "slack", "secret": "hook"}, {"to": "email", "secret": "mail"})
    for _ in range(2):
        keep(home, notify, message_of("released", record("done"), NOW, {}))
    assert len(home.store.keys(KEYS)) == 2


def test_a_channel_that_hangs_does_not_hold_a_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.infra.notifications.channels.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        secret(home, "hook", URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        keep(
            home, entries({"to": "slack", "secret": "hook"}), message_of("released", record("done"), NOW, {})
        )
        (problem,) = deliver(home, 0.1)
        assert "was not reached" in problem
    assert len(home.store.keys(KEYS)) == 1


def test_one_bad_message_keeps_no_other_from_being_sent(home: Home, receiver: Receiver) -> None:
    secret(home, "hook", URL=receiver.url)
    secret(home, "bad", URL="http://host/\u00fc")
    home.store.write(f"{KEYS}0-of-another-version.json", b'{"to": "pager"}', None)
    notify = entries({"to": "slack", "secret": "bad"}, {"to": "slack", "secret": "hook"})
    older, bad = told(home, notify, record("done"))
    assert "0-of-another-version.json in the store is a message of another version" in older
    assert "URL is no http:// or https:// address" in bad
    assert len(receiver.got) == 1
    assert len(home.store.keys(KEYS)) == 2


def test_a_runs_own_message_comes_first(
    home: Home, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.infra.notifications.channels.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        secret(home, "silent", URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        for age in (10, 20, 30):
            old = message_of("failed", record("failed"), NOW - age, {})
            keep(home, entries({"to": "slack", "secret": "silent"}), old)
        secret(home, "hook", URL=receiver.url)
        keep(
            home, entries({"to": "slack", "secret": "hook"}), message_of("released", record("done"), NOW, {})
        )
        problems = deliver(home, 0.1)
    assert len(receiver.got) == 1
    assert len(problems) == 3
    assert sum("there was no time left" in problem for problem in problems) == 2


def test_two_that_send_at_once_send_once(home: Home, receiver: Receiver) -> None:
    secret(home, "hook", URL=receiver.url)
    keep(home, entries({"to": "slack", "secret": "hook"}), message_of("released", record("done"), NOW, {}))
    threads = [threading.Thread(target=deliver, args=(home,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 1


def test_whom_to_tell_is_no_part_of_a_run(home: Home) -> None:
    facts = Facts(data="d", model="", code={}, versions={}, trials=1)
    plain, telling = (
        validate({**DOCUMENT, **more}, "here") for more in ({}, {"notify": {"to": "slack", "secret": "hook"}})
    )
    assert content_of(plain, facts) == content_of(telling, facts)
    del home


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (None, r"notify\.0\.secret: hook: .*: No such file .*mode 0600"),
        ({"URI": "https://host"}, r"notify\.0\.secret: hook: the secret has no URL; expected"),
    ],
)
def test_a_secret_is_checked_before_a_run(home: Home, variables: dict[str, str] | None, words: str) -> None:
    if variables:
        secret(home, "hook", **variables)
    with pytest.raises(ExperimentError, match=words):
        check_notify(validate({**DOCUMENT, "notify": {"to": "slack", "secret": "hook"}}, "here"), home)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"to": "pager", "secret": "hook"}, r"notify\.to: received"),
        ({"to": "slack"}, r"notify\.secret: missing"),
        ({"to": "slack", "secret": "hook", "on": []}, r"notify\.on: "),
        ({"to": "slack", "secret": "hook", "on": "sunrise"}, r"notify\.on: received"),
    ],
)
def test_an_entry_that_is_none(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        validate({**DOCUMENT, "notify": entry}, "here")
