"""What a server records: rows and answers, encrypted, bounded, off the path of requests."""

import contextlib
import json
import os
import signal
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import Running
from tidegate.models.decoding.settings import Detection
from tidegate.serving.contract.contract import Contract, Input
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES
from tidegate.serving.errors import RecordingError
from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.counted import REASONS, Counted
from tidegate.serving.recording.day_count import DayCount
from tidegate.serving.recording.recorder import DRAIN_SECONDS, FLUSH_SECONDS, Recorder
from tidegate.serving.recording.segment_writer import SegmentWriter
from tidegate.serving.recording.segments import names_in
from tidegate.serving.recording.settings import Record, check_drop, repeated_by

Serve = Callable[..., Running]
ROW = {"age": 31.5, "rooms": 2, "city": "Oslo"}
SOON = 2 * (FLUSH_SECONDS + DRAIN_SECONDS)


class Place:
    """The folder and the key of a recording."""

    def __init__(self, path: Path) -> None:
        self.folder, self.key = path / "homes", path / "recording.key"
        self.key.touch(mode=0o600)
        self.key.write_bytes(Cipher.new_key())

    def arguments(self, **settings: Any) -> list[str]:
        given = json.dumps({"share": 1, **settings})
        return ["--record", given, "--recordings", str(self.folder), "--recording-key", str(self.key)]

    def rows(self) -> list[dict[str, Any]]:
        cipher = Cipher.read(self.key)
        return [
            json.loads(line)
            for name in names_in(self.folder)
            for line in cipher.open(self.folder, name, (self.folder / name).read_bytes())
        ]

    def soon(self, count: int) -> list[dict[str, Any]]:
        """The rows, once there are so many."""
        until = time.monotonic() + 10 * SOON
        while len(found := self.rows()) < count and time.monotonic() < until:
            time.sleep(0.05)
        assert len(found) == count
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ask(server: Running, rows: list[Any], **headers: str) -> dict[str, Any]:
    status, _, body = server.ask("POST", "/predict", json.dumps({"rows": rows}).encode(), **headers)
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def counted(server: Running, start: str) -> float:
    page = server.ask("GET", "/metrics")[2].decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(start))


def test_rows_and_answers_are_kept_whatever_the_dialect(serve: Serve, mixed: Path, place: Place) -> None:
    server = serve(mixed, *place.arguments(), name="homes")
    began = time.time()
    answer = ask(server, [ROW, {**ROW, "city": None}], x_request_id="one")["predictions"]
    status, _, _ = server.ask(
        "POST", "/v1/models/homes:predict", json.dumps({"instances": [ROW]}).encode(), x_request_id="two"
    )
    assert status == 200
    ask(server, [ROW], tidegate_proof="1")  # of a release that is verified, and no request
    assert server.ask("POST", "/predict", b'{"rows": [{"age": 1}]}')[0] == 400
    found = place.soon(3)
    assert [(row["request"], row["number"], row["release"]) for row in found] == [
        ("one", 0, 3),
        ("one", 1, 3),
        ("two", 0, 3),
    ]
    assert [row["row"] for row in found] == [ROW, {**ROW, "city": None}, ROW]
    assert [row["answer"] for row in found[:2]] == answer and found[2]["answer"] == answer[0]
    assert all(began - 1 < row["time"] < time.time() for row in found)
    assert counted(server, "tidegate_recorded_rows_total") == 3
    assert counted(server, "tidegate_record_skipped_total") == 0


def test_what_is_dropped_is_nowhere(serve: Serve, mixed: Path, place: Place, tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = serve(mixed, *place.arguments(drop=["city"]), name="homes", log=log)
    ask(server, [{**ROW, "city": "Needle-7f3a"}])
    (row,) = place.soon(1)
    assert row["row"] == {"age": 31.5, "rooms": 2} and set(row["answer"]) == {
        "label",
        "probability",
        "probabilities",
    }
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".rec" for path in files)
    opened = [json.dumps(place.rows()).encode(), *(path.read_bytes() for path in files)]
    assert not any(b"eedle-7f3a" in content for content in opened)
    (name,) = names_in(place.folder)
    assert b"31.5" not in (place.folder / name).read_bytes()  # encrypted
    assert (place.folder / name).stat().st_mode & 0o077 == 0


def test_a_killed_server_leaves_whole_segments(serve: Serve, mixed: Path, place: Place) -> None:
    server = serve(mixed, *place.arguments(), name="homes")
    for _ in range(20):
        ask(server, [ROW])
    place.soon(20)
    ask(server, [ROW])
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(10)
    before = len(place.rows())
    assert before in (20, 21)
    again = serve(mixed, *place.arguments(rows_a_day=before + 2), name="homes")
    ask(again, [ROW] * 5)  # what was recorded today counts
    place.soon(before + 2)
    assert counted(again, 'tidegate_record_skipped_total{endpoint="homes",reason="day"') == 3


def test_processes_share_the_rows_of_a_day(serve: Serve, mixed: Path, place: Place) -> None:
    server = serve(mixed, *place.arguments(rows_a_day=50), "--processes", "2", name="homes")
    with ThreadPoolExecutor(8) as clients:  # at once, so that both processes get some
        list(clients.map(lambda _: ask(server, [ROW]), range(80)))
    place.soon(50)
    assert len(names_in(place.folder)) == 2  # each process writes its own
    time.sleep(0.2)
    assert counted(server, "tidegate_recorded_rows_total") == 50
    assert counted(server, "tidegate_record_skipped_total") == 30


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"drop": ["email"]},
            "serving.record.drop: 'email' is no input of the model; expected one of: age, rooms",
        ),
        ({"share": 2}, "--record is not valid at share"),
        ({"keep": "forever"}, "--record is not valid at keep"),
    ],
)
def test_a_server_that_could_not_record_does_not_start(
    place: Place, mixed: Path, change: dict[str, Any], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from tidegate.serving.server.__main__ import main

    assert main(["--bundle", str(mixed), *place.arguments(**change)]) == 1
    assert told in capfd.readouterr().err


def test_others_may_not_read_the_key(place: Place, mixed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tidegate.serving.server.__main__ import main

    place.key.chmod(0o644)
    assert main(["--bundle", str(mixed), *place.arguments()]) == 1
    assert "has mode 0644" in capfd.readouterr().err
    assert main(["--bundle", str(mixed), *place.arguments()[:2]]) == 1
    assert "--record is given without --recordings" in capfd.readouterr().err


def test_boxes_are_those_of_the_image_that_is_kept(place: Place) -> None:
    contract = Contract(
        task="detection",
        inputs=(Input(name="image", kind="image", dtype="uint8", shape=(32, 64, 1), missing=""),),
        target=("boxes",),
        classes=("cat",),
        detection=Detection(),
    )
    counted = Counted("boxes", 1)
    writer = SegmentWriter(place.folder, Cipher.read(place.key), 3600, counted)
    settings = Record.model_validate({"share": 1})
    recorder = Recorder(settings, contract, 1, DayCount(10, 0, 0.0), writer, counted)
    columns = {"image": np.zeros((1, 32, 64, 1), np.uint8), ORIGINAL_SIZES: np.array([[320, 128]])}
    values = np.array([[[0, 0.9, 10, 20, 30, 40], [-1, 0, 0, 0, 0, 0]]], np.float32)
    recorder.put(b"id", columns, values)
    recorder.start()
    recorder.stop()
    (row,) = place.rows()
    assert [*row["row"]] == ["image"]
    assert row["answer"]["boxes"][0]["box"] == [5, 2, 15, 4]
    assert values[0, 0, 2] == 10  # what was sent is not changed


def test_what_does_not_fit_is_counted_and_never_waits(place: Place) -> None:
    contract = Contract(
        task="regression",
        inputs=(Input(name="text", kind="text", dtype="str", missing=""),),
        target=("y",),
    )
    counted = Counted("texts", 1)
    writer = SegmentWriter(place.folder, Cipher.read(place.key), 3600, counted)
    settings = Record.model_validate({"share": 1})
    recorder = Recorder(settings, contract, 1, DayCount(100_000, 0, 0.0), writer, counted)

    def put(texts: list[str]) -> None:
        rows = len(texts)
        recorder.put(b"id", {"text": np.array(texts, object)}, np.zeros((rows, 1), np.float32))

    put(["half \ud800 a pair"] * 600)
    for _ in range(10):
        put(["long" * 250_000])  # a million characters, 4 MB at most
    assert counted.state()["queue"] == 2
    for _ in range(2_000):
        put(["short"])
    recorder.start()  # only now
    recorder.stop()
    state = counted.state()
    assert len(place.rows()) == state["recorded"] < 1_600
    assert state["recorded"] + sum(state[reason] for reason in REASONS) == 10 + 2_000 + 600
    assert state["large"] == 600 - 200  # every third of them


def test_a_body_that_a_column_is_a_part_of_is_let_go(place: Place) -> None:
    contract = Contract(
        task="regression",
        inputs=(Input(name="x", kind="numeric", dtype="float32", missing=""),),
        target=("y",),
    )
    counted = Counted("numbers", 1)
    writer = SegmentWriter(place.folder, Cipher.read(place.key), 3600, counted)
    settings = Record.model_validate({"share": 1})
    recorder = Recorder(settings, contract, 1, DayCount(10, 0, 0.0), writer, counted)
    body, batch = np.arange(1_000, dtype=np.float32), np.arange(64, dtype=np.float32).reshape(64, 1)
    gone = [weakref.ref(body), weakref.ref(batch)]
    recorder.put(b"id", {"x": body[2:4]}, batch[5:7])
    del body, batch
    assert [found() for found in gone] == [None, None]
    recorder.start()
    recorder.stop()
    assert [(row["row"]["x"], row["answer"]) for row in place.rows()] == [(2, 5), (3, 6)]


@pytest.mark.parametrize(
    ("task", "prompt", "dropped", "refused"),
    [
        ("reconstruction", None, "a", True),
        ("generation", "a", "a", True),
        ("generation", "a", "b", False),
        ("generation", None, "a", False),
        ("anomaly", None, "a", False),
    ],
)
def test_what_an_answer_repeats_is_not_dropped(
    task: str, prompt: str | None, dropped: str, refused: bool
) -> None:
    record, inputs = Record.model_validate({"drop": [dropped]}), ["a", "b"]
    told = pytest.raises(RecordingError, match=f"answer repeats '{dropped}'")
    with told if refused else contextlib.nullcontext():
        check_drop(record, inputs, repeated_by(task, inputs, prompt))


def test_nothing_of_it_is_imported_where_nothing_is_recorded(mixed: Path) -> None:
    import subprocess
    import sys

    code = (
        "import os, sys; os.environ['TIDEGATE_BUNDLE'] = sys.argv[1]\n"
        "import tidegate.serving.server.__main__\n"
        "from tidegate.serving.server.arguments import parser\n"
        "from tidegate.serving.server.recorded import recorded\n"
        "recorded(parser().parse_args(['--bundle', sys.argv[1]]), lambda: None)\n"
        "print([name for name in sys.modules if 'serving.recording' in name or name == 'cryptography'])"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-c", code, str(mixed)], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"
