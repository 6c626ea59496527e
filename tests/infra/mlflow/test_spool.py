"""The spool: appended once, whole lines only, whoever is killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tidegate.infra.errors import SpoolError
from tidegate.infra.mlflow import spool
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.store import Ref

WRITE = """
import sys
from pathlib import Path
from tidegate.infra.mlflow.spool import Spool
trial = Spool(Path(sys.argv[1]), "trial-0")
for number in range(int(sys.argv[2]), 100_000):
    trial.write("metrics", f"{sys.argv[3]}-{number}", step=number, values={"loss": 0.5, "pad": "x" * 100})
    if number == int(sys.argv[2]):
        print("go", flush=True)
"""


def test_an_event_is_written_once_by_its_id(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    assert first.write("tags", "a", values={"x": 1}, t=5)
    assert not first.write("tags", "a", values={"x": 2})
    assert not second.write("tags", "a", values={"x": 3})
    assert second.write("end", "b", status="done")
    assert not first.write("end", "b", status="failed")
    events = spool.events(tmp_path)
    assert events[0] == {"kind": "tags", "id": "a", "t": 5, "values": {"x": 1}}
    assert abs(events[1].pop("t") - time.time() * 1000) < 10_000
    assert events[1] == {"kind": "end", "id": "b", "status": "done"}


def test_numpy_and_references_are_plain(tmp_path: Path) -> None:
    ref = Ref(digest="0" * 64, size=1, name="a.json")
    Spool(tmp_path).write(
        "model", "m", ref=ref, loss=np.float32(0.5), rows=np.ones((1, 2)), epoch=np.int64(3)
    )
    (event,) = spool.events(tmp_path)
    assert (event["ref"]["name"], event["loss"], event["rows"], event["epoch"]) == (
        "a.json",
        0.5,
        [[1.0, 1.0]],
        3,
    )
    with pytest.raises(TypeError, match="set cannot be logged to MLflow"):
        Spool(tmp_path).write("tags", "s", values={1, 2})


def test_a_torn_last_line_is_not_read_and_cut_by_the_next_writer(tmp_path: Path) -> None:
    Spool(tmp_path).write("tags", "a", values={})
    path = spool.path_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "metr')
    assert [event["id"] for event in spool.events(tmp_path)] == ["a"]
    Spool(tmp_path).write("tags", "b", values={})
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["a", "b"]


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    writer = Spool(tmp_path)
    writer.write("tags", "a", values={})
    ((_, offset),) = spool.read(spool.path_of(tmp_path))
    assert list(spool.read(spool.path_of(tmp_path), offset)) == []
    writer.write("tags", "b", values={})
    assert [event["id"] for event, _ in spool.read(spool.path_of(tmp_path), offset)] == ["b"]
    assert list(spool.read(tmp_path / "none.jsonl")) == []


def test_the_parent_comes_first(tmp_path: Path) -> None:
    for name in ("zeta", "alpha", "run"):
        Spool(tmp_path, name).write("run", "run")
    assert spool.names(tmp_path) == ["run", "alpha", "zeta"]


def test_the_newest_metrics_of_a_long_spool(tmp_path: Path) -> None:
    assert spool.last_metrics(tmp_path, "trial-0") is None
    trial = Spool(tmp_path, "trial-0")
    trial.write("run", "run", name="metrics")
    assert spool.last_metrics(tmp_path, "trial-0") is None
    for step in range(30):
        trial.write("metrics", f"epoch-{step}", step=step, values={"loss": 1.0}, pad="x" * 5000)
    trial.write("tags", "t", values={"metrics": 1})
    found = spool.last_metrics(tmp_path, "trial-0")
    assert found is not None
    assert found["step"] == 29


def test_killed_and_concurrent_writers_tear_nothing(tmp_path: Path) -> None:
    for start, moment in ((0, 0.02), (1000, 0.07)):
        argv = [sys.executable, "-c", WRITE, str(tmp_path), str(start)]
        writers = [subprocess.Popen([*argv, who], stdout=subprocess.PIPE) for who in ("a", "b")]
        for writer in writers:
            with writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                time.sleep(moment)
                writer.send_signal(signal.SIGKILL)
    Spool(tmp_path, "trial-0").write("end", "end", status="done")
    lines = spool.path_of(tmp_path, "trial-0").read_bytes().splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) == len(set(ids)) > 8
    assert ids[-1] == "end"


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="there is a file; expected a folder; move the file"):
        Spool(tmp_path / "file").write("tags", "a", values={})


def test_a_full_disk_leaves_the_spool_as_it_was(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        return  # mounting takes root
    try:
        writer = Spool(tmp_path)
        with pytest.raises(SpoolError, match="the disk is full"):
            for number in range(100):
                writer.write("tags", str(number), values={"pad": "x" * 3000})
        assert spool.path_of(tmp_path).read_bytes().endswith(b"\n")
        assert not writer.write("tags", "0", values={})
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_sizes_of_spools_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("train-1", "run", "train-0"):
        Spool(tmp_path, name).write("run", "run", name=name)
    (tmp_path / "train-0.sync.json").write_text("{}")
    found = spool.sizes(tmp_path)
    assert list(found) == spool.names(tmp_path) == ["run", "train-0", "train-1"]
    assert found == {name: spool.path_of(tmp_path, name).stat().st_size for name in found}
