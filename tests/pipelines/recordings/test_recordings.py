"""Recorded rows of a home: counted, exported, forgotten; what writes beside is not disturbed."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.recordings.expiring import expire_recordings
from tidegate.pipelines.recordings.export import export, kind_of
from tidegate.pipelines.recordings.places import check_key, folder_of, key_of, make_key, remove_recordings
from tidegate.pipelines.recordings.reading import Recordings
from tidegate.pipelines.state.home import Home
from tidegate.serving.errors import RecordingError
from tidegate.serving.recording.cipher import Cipher, form_of, forms_of
from tidegate.serving.recording.counted import Counted
from tidegate.serving.recording.recorder import encoded
from tidegate.serving.recording.segment_writer import SEGMENT_ROWS, SegmentWriter
from tidegate.serving.recording.segments import expire, kept_for, locked, names_in, new_name

DAY = 86_400.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    make_key(home)
    return home


def line(number: int, now: float | None = None, **row: Any) -> bytes:
    return encoded(
        {
            "time": time.time() if now is None else now,
            "release": 1,
            "request": f"id-{number}",
            "number": 0,
            "row": {"customer": number, "city": "Oslo", **row},
            "answer": {"label": "yes", "probability": 0.5},
        }
    )


class Server:
    """What a server does to record."""

    def __init__(self, home: Home, keep: float = 14 * DAY) -> None:
        self.counted = Counted("homes", 1)
        self.folder = folder_of(home, "homes")
        self.writer = SegmentWriter(self.folder, Cipher.read(key_of(home)), keep, self.counted)

    def add(self, *lines: bytes) -> None:
        self.writer.add(time.time(), list(lines))


def test_rows_are_counted_and_exported(home: Home, tmp_path: Path) -> None:
    server = Server(home)
    server.add(line(1), line(2, shape=[1, 2]), line(3, city=None))
    server.writer.flush()
    server.add(line(4, customer=2.5))
    server.writer.flush()
    assert len(names_in(server.folder)) == 1  # one is replaced by one with more rows
    recordings = Recordings(home, "homes")
    assert [row["request"] for row in recordings.newest()] == ["id-4", "id-3", "id-2", "id-1"]
    assert list(recordings.counts().values()) == [4] and recordings.bytes_on_disk() > 100
    assert export(recordings.oldest(), tmp_path / "rows.jsonl", "jsonl") == 4
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["row"] == {"customer": 1, "city": "Oslo"}
    assert export(recordings.oldest(), tmp_path / "rows.parquet", "parquet") == 4
    assert (tmp_path / "rows.parquet").stat().st_mode & 0o077 == 0
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["customer"] == [1.0, 2.0, 3.0, 2.5] and table["city"] == ["Oslo", "Oslo", None, "Oslo"]
    assert table["shape"] == [None, "[1, 2]", None, None]
    assert table["recorded_request"] == ["id-1", "id-2", "id-3", "id-4"]
    assert export(iter([]), tmp_path / "none.parquet", "parquet") == 0


def test_columns_of_other_releases_have_a_common_type(home: Home, tmp_path: Path) -> None:
    server = Server(home)
    server.add(*(line(number) for number in range(5_000)))
    server.add(line(1, customer="A-1"), line(2, new=True))
    server.writer.flush()
    export(Recordings(home, "homes").oldest(), tmp_path / "rows.parquet", "parquet")
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["customer"][4_999:] == ["4999", "A-1", "2"] and table["new"][-2:] == [None, True]


@pytest.mark.parametrize("name", ["rows.csv", "nowhere/rows.jsonl"])
def test_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        kind_of(tmp_path / name)


def test_a_value_is_forgotten_everywhere(home: Home) -> None:
    server = Server(home)
    server.add(*(line(number % 10) for number in range(1_200)))  # two full segments, and an open one
    server.writer.flush()
    server.add(line(7), line(8))  # not written yet
    recordings = Recordings(home, "homes")
    assert recordings.forget("customer", "7") == 120
    assert not any(row["row"]["customer"] == 7 for row in recordings.newest())
    server.writer.flush()
    left = [row["row"]["customer"] for row in recordings.newest()]
    assert 7 not in left and len(left) == 1_200 - 120 + 1
    server.add(line(7))  # asked again, later
    server.writer.flush()
    assert [row["row"]["customer"] for row in recordings.newest()].count(7) == 1
    marks = b"".join(path.read_bytes() for path in server.folder.glob("forget-*.json"))
    assert marks and b'"7"' not in marks
    assert recordings.forget("request", "id-8") == 121
    assert recordings.forget("customer", "8") == 0
    assert recordings.forget("customer", "no such") == 0


def test_forgetting_beside_a_server_loses_nothing_else(home: Home) -> None:
    server, recordings = Server(home), Recordings(home, "homes")

    def write() -> None:
        for number in range(2_000):
            server.add(line(number % 20))
            if number % 50 == 0:
                server.writer.flush()
        server.writer.flush()

    thread = threading.Thread(target=write)
    thread.start()
    for customer in range(5):
        recordings.forget("customer", str(customer))
    thread.join()
    found = [row["row"]["customer"] for row in recordings.newest()]
    assert all(found.count(customer) == 100 for customer in range(5, 20))


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (7, "7", True),
        (7.0, "7", True),
        ("007", "7", False),
        ("007", "007", True),
        (0.5, ".5", True),
        (True, "true", True),
    ],
)
def test_values_as_they_are_written(value: Any, text: str, same: bool) -> None:
    assert (form_of(value) in forms_of(text)) == same


def test_what_is_old_goes(home: Home) -> None:
    server = Server(home)
    server.folder.mkdir(parents=True)
    now = time.time()
    names = [new_name(now - days * DAY) for days in (15, 14.5, 13, 0)]
    for name in names:
        (server.folder / name).touch()
    with locked(server.folder):
        assert expire(server.folder, 14 * DAY, now) == [0, 0]
    assert names_in(server.folder) == names[2:]
    remove_recordings(home, "homes")
    assert not server.folder.exists()
    remove_recordings(home, "homes")


def test_half_written_files_of_a_killed_server_go(home: Home) -> None:
    server = Server(home)
    server.add(line(7))
    server.writer.flush()
    half = server.folder / ".tmp-1-abc"
    half.write_bytes(b"")
    assert Recordings(home, "homes").forget("customer", "7") == 1 and not half.exists()
    half.write_bytes(b"")
    with locked(server.folder):
        expire(server.folder, 14 * DAY, time.time())
    assert not half.exists()


def test_gc_deletes_what_no_server_does(home: Home) -> None:
    server, now = Server(home), time.time()
    server.add(line(2))
    server.writer.flush()
    Server(home).writer.add(now - 15 * DAY, [line(1)] * SEGMENT_ROWS)  # full, so that it is written at once
    assert kept_for(server.folder) == 14 * DAY
    other = folder_of(home, "unknown")  # nothing says how long
    other.mkdir()
    (other / new_name(now - 900 * DAY)).touch()
    removed = expire_recordings(home)
    assert removed.names == ["old recorded rows of homes"] and removed.size > 50
    assert [row["request"] for row in Recordings(home, "homes").newest()] == ["id-2"]
    assert names_in(other) and expire_recordings(home).names == []


def test_the_release_that_began_to_record_last_says_how_long(home: Home) -> None:
    old, new = Server(home), Server(home, 2 * DAY)
    for server in (old, new, old):
        server.add(line(1))
        server.writer.flush()
    assert kept_for(new.folder) == 2 * DAY


def test_forgetting_goes_on_behind_a_damaged_segment(home: Home) -> None:
    for _ in range(3):
        server = Server(home)
        server.add(line(7), line(8))
        server.writer.flush()
    first = names_in(server.folder)[0]
    (server.folder / first).write_bytes(b"harm")
    with pytest.raises(RecordingError, match=f"2 rows were removed, and of {first} in"):
        Recordings(home, "homes").forget("customer", "7")
    assert [row["row"]["customer"] for row in Recordings(home, "homes").newest()] == [8, 8]


def test_a_float32_is_forgotten_as_it_was_sent(home: Home) -> None:
    server = Server(home)
    amounts = [float(np.float32(0.1)), 0.1, 0.2, float(np.float32(16_777_217)), 16_777_216]
    server.add(*(line(number, amount=amount) for number, amount in enumerate(amounts)))
    server.writer.flush()
    recordings = Recordings(home, "homes")
    assert recordings.forget("amount", "0.1") == 2
    assert recordings.forget("amount", "16777217") == 1
    assert [row["row"]["amount"] for row in recordings.oldest()] == [0.2, 16_777_216]


def test_values_without_a_type_of_parquet_are_json(home: Home, tmp_path: Path) -> None:
    server = Server(home)
    server.add(*(line(number, text="a", size=2**63, free="x") for number in range(5_000)))
    server.add(line(1, text="half \ud800", size=0.5, free=["x"]), line(2))
    server.writer.flush()
    assert export(Recordings(home, "homes").oldest(), tmp_path / "rows.parquet", "parquet") == 5_002
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["text"][4_999:] == ['"a"', '"half \\ud800"', None]
    assert table["size"][4_999:] == [str(2**63), "0.5", None]
    assert table["free"][4_999:] == ["x", '["x"]', None]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows.parquet"]


def test_a_full_disk_is_counted_and_the_next_rows_are_written(home: Home) -> None:
    server = Server(home)
    server.folder.parent.mkdir()
    server.folder.touch()  # no folder can be there
    server.add(line(1))
    server.writer.flush()
    server.folder.unlink()
    server.add(line(2))
    server.writer.flush()
    assert [row["request"] for row in Recordings(home, "homes").newest()] == ["id-2"]
    assert server.counted.state()["write"] == 1 and server.counted.state()["recorded"] == 1


@pytest.mark.parametrize("harm", ["flip", "cut", "rename", "key", "empty"])
def test_a_damaged_segment_is_told(home: Home, harm: str) -> None:
    server = Server(home)
    server.add(line(1))
    server.writer.flush()
    path = server.folder / names_in(server.folder)[0]
    content = path.read_bytes()
    if harm == "flip":
        path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    elif harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "rename":
        path.rename(server.folder / new_name(time.time()))
    elif harm == "key":
        key_of(home).write_bytes(Cipher.new_key())
    else:
        path.write_bytes(b"")
    beside = Server(home)
    beside.add(line(2))
    beside.writer.flush()
    recordings = Recordings(home, "homes")
    with pytest.raises(RecordingError, match="expected"):
        list(recordings.oldest())
    assert [row["request"] for row in recordings.newest()] == ["id-2"]
    assert recordings.left_out.startswith("1 segment of recorded rows cannot be read")


def test_a_lost_key_is_not_made_anew_over_what_it_encrypted(home: Home) -> None:
    server = Server(home)
    server.add(line(1))
    server.writer.flush()
    key = key_of(home).read_bytes()
    key_of(home).unlink()
    for asked in (make_key, check_key):
        with pytest.raises(RecordingError, match=r"recording\.key is gone, and .*homes has rows"):
            asked(home)
    recordings = Recordings(home, "homes")
    assert list(recordings.newest()) == [] and "cannot be read" in recordings.left_out
    server.folder.rename(server.folder.parent.parent / "away")
    make_key(home)
    assert key_of(home).read_bytes() != key
