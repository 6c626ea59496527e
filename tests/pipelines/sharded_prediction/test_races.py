"""What several commands, or attempts, do to one output at once."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tidegate.pipelines.commands.prediction import sharded
from tidegate.pipelines.sharded_prediction.document import DONE, BatchPlan, Manifest, name_of
from tidegate.pipelines.sharded_prediction.inputs import InputReader, no_endpoint
from tidegate.pipelines.sharded_prediction.output import complete, remaining
from tidegate.pipelines.sharded_prediction.place import FolderPlace, OutputPlace
from tidegate.pipelines.sharded_prediction.shard import ShardRunner
from tidegate.serving.inference.bulk_scoring import bundle_scorer

from .conftest import Predict, lines, some_rows


def test_what_another_command_takes_back_is_done_again(
    tmp_path: Path, shards_of: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(4000)))
    first = tmp_path / "out" / "_batch" / "done" / "00000.json"
    taken = list[Path]()

    def after_another(place: OutputPlace, plan: BatchPlan) -> Manifest | None:
        if not taken:
            taken.append(first)
            first.unlink()
        return complete(place, plan)

    monkeypatch.setattr(sharded, "complete", after_another)
    answer = shards_of([str(tmp_path / "rows.jsonl")], tmp_path / "out", 4)
    assert (answer["rows"], answer["before"], taken) == (4000, 0, [first])


def test_a_shard_that_is_done_while_the_output_is_looked_at_is_left(
    tmp_path: Path, shards_of: Predict
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(2000)))
    whole, out = tmp_path / "whole", tmp_path / "out"
    shards_of([str(tmp_path / "rows.jsonl")], whole, 2)
    plan = Manifest.model_validate_json((whole / "_manifest.json").read_bytes()).plan
    done, part = name_of(DONE, 1), plan.part(1)

    class Busy(FolderPlace):
        """Another command's shard ends in the middle of a listing: its part is not in it, its document is."""

        def sizes(self, below: str = "") -> dict[str, int]:
            if below or (out / part).exists():
                return super().sizes(below)
            for name in (part, done):
                shutil.copy(whole / name, out / name)
            return {name: size for name, size in super().sizes().items() if name != part}

    shutil.copytree(whole, out)
    for name in (done, part):
        (out / name).unlink()
    remaining(Busy(out), plan)
    assert (out / done).read_bytes() == (whole / done).read_bytes()


def test_of_two_attempts_that_differ_the_document_is_of_the_part_that_is_there(
    tmp_path: Path, bundle: Path, shards_of: Predict
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(some_rows(2000)))
    out = tmp_path / "out"
    shards_of([str(tmp_path / "rows.jsonl")], out, 1)
    manifest = Manifest.model_validate_json((out / "_manifest.json").read_bytes())
    name, part = name_of(DONE, 0), manifest.parts[0]
    other = part.model_copy(update={"sha256": "0" * 64})  # as a pod with another CPU has left it
    (out / name).unlink()
    uploads = list[str]()

    class Late(FolderPlace):
        """The other attempt says that it is done just after this one's part was uploaded."""

        def upload(self, path: Path, name: str) -> None:
            super().upload(path, name)
            uploads.append(name)
            if len(uploads) == 1:
                self.create(name_of(DONE, 0), other.content())

    scorer, contract = bundle_scorer(bundle, manifest.plan.model, None)
    reader = InputReader(tmp_path, no_endpoint)
    runner = ShardRunner(manifest.plan, Late(out), reader, scorer, contract, tmp_path, lambda _: None)
    assert runner.run(0) == part
    assert uploads == [part.part] * 2  # the other's may have come last
    assert (out / name).read_bytes() == part.content()
    assert hashlib.sha256((out / part.part).read_bytes()).hexdigest() == part.sha256
    assert not (
        out / "_manifest.json"
    ).exists()  # it may have named the other; whoever is last writes it anew
