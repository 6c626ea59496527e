"""The process of a pod: its exit code says whether another try would help, and the last one completes the output."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.sharded_prediction import worker
from tidegate.pipelines.sharded_prediction.document import PLAN
from tidegate.pipelines.sharded_prediction.output import progress
from tidegate.pipelines.sharded_prediction.place import FolderPlace

from .conftest import Predict, joined, lines, some_rows


@pytest.fixture
def begun(tmp_path: Path, shards_of: Predict) -> Path:
    """An output whose shards 1 and 3 of 4 are not done; of shard 3 a row was wrong."""
    rows = some_rows(8000)
    (tmp_path / "good.jsonl").write_text(lines(rows))
    shards_of([str(tmp_path / "good.jsonl")], tmp_path / "good", 4)
    rows[7999]["x"] = "wide"
    (tmp_path / "rows.jsonl").write_text(lines(rows))
    with pytest.raises(PipelineError, match="1 of 4 shards failed"):
        shards_of([str(tmp_path / "rows.jsonl")], tmp_path / "out", 4)
    for name in ("part-00001-of-00004.jsonl", "_batch/done/00001.json"):
        (tmp_path / "out" / name).unlink()
    return tmp_path / "out"


def argv(output: Path | str, bundle: Path) -> list[str]:
    return ["--output", str(output), "--bundle", str(bundle), "--shards", "1,3"]


def test_an_index_is_one_of_the_shards_that_are_left(
    begun: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert worker.main(argv(begun, bundle)) == 0
    assert capsys.readouterr().err == "shard 1: 2000 rows in part-00001-of-00004.jsonl\n"
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert worker.main(argv(begun, bundle)) == 1
    assert "'x' of row 7999" in capsys.readouterr().err
    found = progress(FolderPlace(begun))
    assert (found.done, found.failed) == ({0, 1, 2}, {3})
    assert not (begun / "_SUCCESS").exists()


def test_who_is_last_completes_the_output(
    tmp_path: Path, bundle: Path, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun.is_dir()
    good = tmp_path / "good"
    whole, manifest = joined(good), (good / "_manifest.json").read_bytes()
    for name in ("_SUCCESS", "_manifest.json", "_batch/done/00003.json"):
        (good / name).unlink()
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert worker.main(argv(good, bundle)) == 0
    assert (good / "_manifest.json").read_bytes() == manifest
    assert joined(good) == whole
    assert (good / "_SUCCESS").exists()


def test_data_that_changed_since_is_refused(
    tmp_path: Path,
    begun: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(8000, 0.0)))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert worker.main(argv(begun, bundle)) == 1
    assert "rows.jsonl changed since the prediction began; expected sha256:" in capsys.readouterr().err


def test_a_server_that_is_away_is_tried_again(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setenv("TIDEGATE_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert worker.main(argv("s3://bucket/out", bundle)) == os.EX_TEMPFAIL
    assert "shard 1: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    ],
)
def test_what_is_of_the_machine_is_tried_again_and_is_no_failure(
    begun: Path,
    bundle: Path,
    problem: Exception,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def scarce(*_: object) -> None:
        raise problem

    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setattr("tidegate.serving.inference.predictor.Predictor.predict_rows", scarce)
    assert worker.main(argv(begun, bundle)) == os.EX_TEMPFAIL
    assert words in capsys.readouterr().err.splitlines()[-1]  # what the pod's end says
    assert progress(FolderPlace(begun)).failed == {3}


def test_a_plan_of_another_version_is_not_tried_again(
    begun: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (begun / PLAN).write_text('{"version": 9}')
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert worker.main(argv(begun, bundle)) == 1
    assert "a prediction of another version of Tidegate" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_no_half_part_and_another_goes_on(
    tmp_path: Path, bundle: Path, shards_of: Predict, how: signal.Signals
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(lines(some_rows(60_000)))
    command = [sys.executable, "-m", "tidegate.pipelines.cli", "predict", str(bundle), "--shards", "20"]
    command += ["--home", str(tmp_path / "home"), "--input", str(source), "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob("_batch/done/0*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(how)
        process.wait(30)
    done = len(list((tmp_path / "out").glob("_batch/done/0*")))
    assert 0 < done < 20
    for part in (tmp_path / "out").glob("part-*"):
        assert len(part.read_text().splitlines()) == 3000
    answer = shards_of([str(source)], tmp_path / "out", 20)
    assert (answer["before"], answer["rows"]) == (done, 60_000)
    labels = [json.loads(line)["label"] for line in joined(tmp_path / "out").splitlines()]
    assert len(labels) == 60_000
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
