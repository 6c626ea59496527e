"""Input and output in buckets of each cloud: names, patterns, order, changes, and two commands at once."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bucket_servers import BucketServer
from tidegate.infra.store import Bucket, open_bucket
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.sharded_prediction.document import PLAN, SUCCESS, Manifest
from tidegate.pipelines.sharded_prediction.inputs import InputReader, find_inputs, no_endpoint
from tidegate.pipelines.sharded_prediction.output import claim
from tidegate.pipelines.sharded_prediction.place import open_place

from .conftest import Predict, lines, some_rows


@pytest.fixture(params=["s3", "google", "azure"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    server: BucketServer = request.getfixturevalue(request.param)
    opened = open_bucket(server.url(tmp_path.name))
    yield opened
    opened.close()


def put(bucket: Bucket, files: dict[str, str]) -> None:
    for name, content in files.items():
        bucket.upload(io.BytesIO(content.encode()), name)


def test_from_bucket_to_bucket(tmp_path: Path, bucket: Bucket, shards_of: Predict) -> None:
    counts = {
        "in/b.jsonl": 2100,
        "in/a.jsonl": 900,
        "in/deep/c.jsonl": 5,
        "in/_old/d.jsonl": 7,
        "inside.jsonl": 3,
    }
    put(bucket, {name: lines(some_rows(count)) for name, count in counts.items()})
    answer = shards_of([f"{bucket.url}/in"], f"{bucket.url}/out", 4)
    assert answer["rows"] == 3005
    text = bucket.get("out/_manifest.json")
    assert text is not None
    manifest = Manifest.model_validate_json(text[0])
    assert [file.path for file in manifest.plan.inputs] == [
        f"{bucket.url}/in/{name}" for name in ("a.jsonl", "b.jsonl", "deep/c.jsonl")
    ]
    parts = [bucket.get(f"out/{part.part}") or (b"", "") for part in manifest.parts]
    whole = b"".join(content for content, _ in parts)
    (tmp_path / "in").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        count = next(count for key, count in counts.items() if key.endswith(name) and "_old" not in key)
        (tmp_path / "in" / name).write_text(lines(some_rows(count)))
    shards_of([str(tmp_path / "in")], tmp_path / "here", 1)
    assert whole == (tmp_path / "here" / "part-00000-of-00001.jsonl").read_bytes()
    assert bucket.stat(f"out/{SUCCESS}") is not None
    assert shards_of([f"{bucket.url}/in"], f"{bucket.url}/out", 4)["before"] == 4
    put(bucket, {"in/a.jsonl": lines(some_rows(900, 0.0))})
    with pytest.raises(UsageError, match=r"in/a\.jsonl changed"):
        shards_of([f"{bucket.url}/in"], f"{bucket.url}/out", 4)


def test_patterns_are_those_of_a_shell(bucket: Bucket) -> None:
    put(
        bucket,
        dict.fromkeys(("in/1.jsonl", "in/2.jsonl", "in/3.csv", "in/x/4.jsonl", "in/_5.jsonl"), "{}"),
    )

    def found(pattern: str) -> list[str]:
        files = find_inputs([f"{bucket.url}/{pattern}"], no_endpoint).files
        return [file.path.removeprefix(f"{bucket.url}/") for file in files]

    assert found("in/*.jsonl") == ["in/1.jsonl", "in/2.jsonl"]
    assert found("in/[2-9]*") == ["in/2.jsonl", "in/3.csv"]
    assert found("*/x/?.jsonl") == ["in/x/4.jsonl"]
    assert found("in/**/*.jsonl") == ["in/1.jsonl", "in/2.jsonl", "in/x/4.jsonl"]
    assert found("in/_5.jsonl") == ["in/_5.jsonl"]  # named, so it is meant
    with pytest.raises(UsageError, match="there is nothing"):
        found("none/*.jsonl")


def test_what_changes_before_or_while_it_is_read_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    put(bucket, {"rows.jsonl": lines(some_rows(10))})
    (file,) = find_inputs([f"{bucket.url}/rows.jsonl"], no_endpoint).files
    reader = InputReader(tmp_path, no_endpoint)
    with reader.local(file) as path:
        assert (path.name, path.read_text()) == ("rows.jsonl", lines(some_rows(10)))
    assert list(tmp_path.iterdir()) == []
    put(bucket, {"rows.jsonl": lines(some_rows(11))})
    with pytest.raises(PipelineError, match="changed since the prediction began"), reader.local(file):
        pass
    bucket.delete("rows.jsonl")
    with pytest.raises(PipelineError, match="changed since the prediction began"), reader.local(file):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_commands_at_once_one_plan_has_the_output(
    tmp_path: Path, bucket: Bucket, shards_of: Predict
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(3000)))
    command = ([str(tmp_path / "rows.jsonl")], f"{bucket.url}/out")

    def ask(shards: int) -> str:
        try:
            return str(shards_of(*command, shards)["rows"])
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, (2, 3, 2, 3)))
    won = {"2": answers[::2], "3": answers[1::2]}
    same, other = sorted(won.values(), key=lambda found: found != ["3000", "3000"])
    assert same == ["3000", "3000"]
    assert all("holds another prediction: shards" in answer for answer in other)
    parts = [found.key for found in bucket.list_objects("out/part-")]
    count = "".join((bucket.get(name) or (b"", ""))[0].decode() for name in parts).count("\n")
    assert count == 3000


def test_a_refused_place_is_left_as_it_was(tmp_path: Path, bucket: Bucket, shards_of: Predict) -> None:
    put(bucket, {"out/theirs.csv": "a"})
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(3)))
    with pytest.raises(UsageError, match=r"is not empty: it has theirs\.csv"):
        shards_of([str(tmp_path / "rows.jsonl")], f"{bucket.url}/out", 2)
    assert [found.key for found in bucket.list_objects("out/")] == ["out/theirs.csv"]


def test_a_claim_whose_answer_was_lost_is_still_ones_own(
    bucket: Bucket, shards_of: Predict, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(3)))
    shards_of([str(tmp_path / "rows.jsonl")], tmp_path / "out", 2)
    content = (tmp_path / "out" / PLAN).read_bytes()
    place = open_place(f"{bucket.url}/out")
    plan = Manifest.model_validate_json((tmp_path / "out" / "_manifest.json").read_bytes()).plan
    assert plan.content() == content
    assert [place.create(PLAN, content), place.create(PLAN, content), place.create(PLAN, b"other")] == [
        True,
        True,
        False,
    ]
    assert claim(place, plan) is False
