"""A release answers what the live one recorded before it gets traffic; the gate may ask how well."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.conftest import Cli
from tidegate.infra.mlflow.spool import events
from tidegate.pipelines.recordings.places import folder_of, key_of
from tidegate.pipelines.recordings.reading import Recordings
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.client import Client
from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.counted import Counted
from tidegate.serving.recording.recorder import encoded
from tidegate.serving.recording.segment_writer import SegmentWriter
from tidegate.serving.recording.segments import new_name

RECORD = ("--set", "serving.record={share: 1}", "--set", "serving.endpoint=recorded")
SHORT = ("--set", "training.epochs=30")
ASKED = 60  # rows, which are enough for a rule
WORSE = ("--set", "training.epochs=1", "--set", "training.optimizer={name: sgd, learning_rate: 1e-9}")


def gate(minimum: float) -> tuple[str, str]:
    rules = [
        {"metric": "test_accuracy", "improve_on_champion": None},
        {"metric": "replay_agreement", "minimum": minimum},
        {"metric": "replay_p99", "maximum": 60_000},
    ]
    return "--set", f"gate={json.dumps(rules)}"


def soon(home: Home, count: int) -> list[Any]:
    until = time.monotonic() + 60
    while len(rows := list(Recordings(home, "recorded").newest())) < count and time.monotonic() < until:
        time.sleep(0.1)
    assert len(rows) == count
    return rows


def ask(url: str, sample: list[dict[str, float]]) -> None:
    with Client(url) as client:
        for number in range(ASKED):
            row = {name: value * (1 + number / 200) for name, value in sample[number % len(sample)].items()}
            client.predict([row])


def test_a_release_answers_what_was_recorded(shared: Cli) -> None:
    first = shared.ok("submit", "wine", *RECORD, *SHORT, *gate(0.5))
    assert "first release" in first["replay"]["note"] and first["replay"]["rows"] == 0
    home = Home(shared.home)
    assert key_of(home).stat().st_mode & 0o777 == 0o600
    sample = json.loads((next(home.bundles.glob("*/sample.json"))).read_bytes())
    ask(first["endpoint"], sample)
    rows = soon(home, ASKED)
    assert {row["release"] for row in rows} == {first["release"]}
    beside = SegmentWriter(
        folder_of(home, "recorded"), Cipher.read(key_of(home)), 1e6, Counted("recorded", 1)
    )
    for more in ({"email": "a@b.example"}, {"alcohol": "Needle-7f3a"}):
        beside.add(time.time(), [encoded(dict(rows[0]) | {"row": rows[0]["row"] | more})])
    beside.flush()  # as if the live release had one more input, and another kind of one
    damaged = folder_of(home, "recorded") / new_name(time.time())
    damaged.write_bytes(b"")
    again = shared.ok("submit", "wine", *RECORD, *SHORT, *gate(0.5), "--set", "training.seed=8")
    found = again["replay"]
    assert (found["rows"], found["live"], found["against"]) == (ASKED + 2, first["release"], [])
    assert found["refused"] == 2 and found["first_refused"] == "HTTP 400 contract at 'alcohol'"
    told = [json.dumps(again).encode(), shared("show", again["run"]).stdout.encode()]
    told += [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    assert not any(b"eedle-7f3a" in content for content in told)
    assert found["note"].startswith("1 segment of recorded rows cannot be read")
    damaged.unlink()
    assert found["agreed"] >= 20 and found["p99_ms"] > 0
    logged = [event["values"] for event in events(home.spool / again["run"]) if event["kind"] == "metrics"]
    assert {"replay_agreement", "replay_p99", "replay_rows"} in [values.keys() for values in logged]
    shown = shared("show", again["run"]).stdout
    assert f"of {ASKED + 2} recorded rows answered as release {first['release']} did" in shown
    ask(again["endpoint"], sample)
    soon(home, ASKED + 2 + ASKED)


def test_one_that_answers_otherwise_is_refused(shared: Cli) -> None:
    home, before = Home(shared.home), shared.ok("endpoints")
    live = next(one for one in before if one["name"] == "recorded")
    refused = shared("submit", "wine", *RECORD, *WORSE, *gate(1.0), "--json")
    answer = json.loads(refused.stdout)
    assert refused.code == 3, refused.stderr
    assert answer["status"] == "refused" and "below the minimum 1" in answer["reason"]
    assert answer["replay"]["against"] and answer["release"] is None
    now = next(one for one in shared.ok("endpoints") if one["name"] == "recorded")
    assert now["release"] == live["release"] and now["live"]
    assert [one["state"] for one in now["releases"]][-1] == "failed"
    assert home.path.joinpath("recordings").is_dir()


def test_recorded_requests_are_counted_exported_and_forgotten(shared: Cli, tmp_path: Path) -> None:
    counted = shared.ok("recorded", "recorded")
    assert counted["rows"] == sum(day["rows"] for day in counted["days"]) > 40
    output = tmp_path / "rows.parquet"
    assert shared.ok("recorded", "recorded", "--output", str(output))["rows"] == counted["rows"]
    table = pyarrow.parquet.read_table(output)
    assert table.num_rows == counted["rows"] and "alcohol" in table.column_names
    request = table["recorded_request"][0].as_py()
    forgotten = shared.ok("recorded", "recorded", "--forget", f"request={request}")["forgotten"]
    assert forgotten >= 1
    assert shared.ok("recorded", "recorded")["rows"] == counted["rows"] - forgotten
    assert "expected one of: alcohol" in shared("recorded", "recorded", "--forget", "phone=x").stderr
    assert "expected COLUMN=VALUE" in shared("recorded", "recorded", "--forget", "email").stderr
    assert shared("recorded", "nowhere").code == 2


def test_what_lacks_an_input_is_not_asked_again(shared: Cli) -> None:
    dropping = ("--set", "serving.record={share: 1, drop: [ash]}", *RECORD[2:])
    live = shared.ok("submit", "wine", *dropping, *SHORT, "--set", "gate=none")
    sample = json.loads((next(Home(shared.home).bundles.glob("*/sample.json"))).read_bytes())
    with Client(live["endpoint"]) as client:
        client.predict(sample)
    after = shared.ok("submit", "wine", *RECORD, *SHORT, *gate(1.0))
    assert after["status"] == "done" and "lacks ash" in after["replay"]["note"]
    kept = [
        row for row in Recordings(Home(shared.home), "recorded").newest() if row["release"] == live["release"]
    ]
    assert kept and all("ash" not in row["row"] for row in kept)


def test_a_deleted_endpoint_leaves_no_recording(shared: Cli) -> None:
    shared.ok("delete", "recorded")
    assert not folder_of(Home(shared.home), "recorded").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ("--set", "serving.record={drop: [email]}", "--set", "data.inputs=[alcohol]"),
            "'email' is no input",
        ),
        (
            ("--set", "serving.record={drop: [alcohol]}", "--set", "data.task=reconstruction"),
            "answer repeats 'alcohol'",
        ),
        (gate(0.9), "serving.record is not stated"),
        (("--set", "serving.record={drop: [alcohol]}", *gate(0.9)), "leaves alcohol out of them"),
        (("--set", "serving.record={}", "--set", "gate={metric: replay_p99}"), "has no limit here"),
        (("--set", "serving.record={}", "--set", "gate={metric: replay_p98, maximum: 1}"), "replay_p99"),
        (
            (
                *("--set", "serving.record={}"),
                *("--set", "gate={metric: replay_agreement, minimum: 0.9, improve_on_champion: 0}"),
            ),
            "so there is no improve_on_champion",
        ),
        (("--set", "serving.record={share: 0}"), "serving.record.share"),
    ],
)
def test_what_cannot_be_recorded_or_asked_for(cli: Cli, given: tuple[str, ...], told: str) -> None:
    refused = cli("plan", "wine", *given)
    assert refused.code == 2 and told in refused.stderr, refused.stderr
