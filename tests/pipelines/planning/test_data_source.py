"""Data in buckets, and data of this machine that was kept in a store for another one."""

import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bucket_servers import BucketServer, S3Server
from tidegate.infra.errors import MissingObjectError, StoreError
from tidegate.infra.store import Bucket, FolderStore, Store, open_bucket
from tidegate.infra.store.s3_store import S3Store
from tidegate.models.errors import SourceError
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning import bucket_source
from tidegate.pipelines.planning.bucket_source import BucketSource
from tidegate.pipelines.planning.data_source import check_source, source_of
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.kept_data import keep_source, lay_out_source
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.finished_steps import refs_in
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.prepare import KeptFile
from tidegate.pipelines.steps import load_step
from tidegate.pipelines.steps import prepare as prepare_step
from tidegate.pipelines.steps.context import StepContext


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def tree(path: Path) -> dict[str, bytes]:
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files if file.is_file()}


PHOTOS = {f"photos/{kind}/{number}.png": b"%d" % number for kind in ("cat", "dog") for number in range(40)}
IDX = {"t10k-images-idx3-ubyte": b"images", "t10k-labels-idx1-ubyte": b"labels", "other": b"other"}


ROWS = "\n".join(["x,y", *(f"{n / 200},{'high' if n > 99 else 'low'}" for n in range(200))]).encode()


def experiment_of(source: str) -> Experiment:
    data = {"source": source, "target": "y"}
    return validate({"name": "rows", "data": data, "model": {"family": "mlp"}}, "here")


def prepared(home: Home, plan: Plan) -> dict[str, Any]:
    """The outputs of a plan's prepare step, run in this process."""
    (step,) = plan.of("prepare")
    folder = home.folder_of(plan.run)
    folder.create()
    work = Path(tempfile.mkdtemp(dir=folder.path / "work"))
    context = StepContext(home, folder, step.id, step.key, work)
    return load_step("prepare")(step.inputs, context).model_dump()


class TestOnThisMachine:
    def planned(self, tmp_path: Path) -> tuple[Home, Plan, Path]:
        path = tmp_path / "rows.csv"
        path.write_bytes(ROWS)
        home = Home(tmp_path / "home")
        experiment = experiment_of(str(path))
        return home, make_plan(experiment, gather(experiment, home)), path

    @pytest.mark.parametrize("changed", [ROWS + b"\n0.5,low", ROWS.replace(b"x,y", b"x,z")])
    def test_data_that_changed_since_the_plan_is_refused(self, tmp_path: Path, changed: bytes) -> None:
        """Whether the readers find it wrong or not, what is said is why."""
        home, plan, path = self.planned(tmp_path)
        path.write_bytes(changed)
        with pytest.raises(PipelineError, match=r"data.source: .*rows.csv changed since the run was planned"):
            prepared(home, plan)

    def test_data_that_is_written_to_while_it_is_read_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, plan, path = self.planned(tmp_path)
        read = prepare_step.prepare

        def then_written(**options: Any) -> Any:
            rows = read(**options)
            path.write_bytes(ROWS + b"\n0.5,low")
            return rows

        monkeypatch.setattr(prepare_step, "prepare", then_written)
        with pytest.raises(PipelineError, match="changed since the run was planned, or while it was read"):
            prepared(home, plan)

    def test_data_that_is_as_planned_is_read(self, tmp_path: Path) -> None:
        home, plan, path = self.planned(tmp_path)
        os.utime(path, (1, 1))
        assert prepared(home, plan)["summary"]["rows"]["train"] > 100


class TestBuckets:
    @pytest.fixture(params=["s3", "google", "azure"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
        server: BucketServer = request.getfixturevalue(request.param)
        bucket = open_bucket(server.url(tmp_path.name))
        yield bucket
        bucket.close()

    def put(self, place: Bucket, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            place.upload(io.BytesIO(content), name)

    def test_a_file_and_nothing_beside_it(self, place: Bucket, tmp_path: Path) -> None:
        self.put(place, {"letters.csv": b"a,b", "letters.csv.old": b"no", "letters.csv2/x.csv": b"no"})
        copy = BucketSource(f"{place.url}/letters.csv").fetch(tmp_path / "work")
        assert copy == tmp_path / "work" / "letters.csv"
        assert tree(tmp_path / "work") == {"work/letters.csv": b"a,b"}
        assert BucketSource(f"{place.url}/letters.csv").format() == "csv"

    def test_idx_images_come_with_their_labels(self, place: Bucket, tmp_path: Path) -> None:
        self.put(place, IDX)
        copy = BucketSource(f"{place.url}/t10k-images-idx3-ubyte").fetch(tmp_path / "work")
        assert copy.name == "t10k-images-idx3-ubyte"
        assert {path.name for path in copy.parent.iterdir()} == {copy.name, "t10k-labels-idx1-ubyte"}
        assert BucketSource(place.url).format() == "idx"

    @pytest.mark.parametrize("end", ["", "/"])
    def test_a_folder(self, place: Bucket, tmp_path: Path, end: str) -> None:
        self.put(place, {**PHOTOS, "photos/.hidden": b"", "photos-of-others/x.png": b"no"})
        copy = BucketSource(f"{place.url}/photos" + end).fetch(tmp_path / "work")
        assert tree(copy) == PHOTOS
        assert BucketSource(f"{place.url}/photos" + end).format() == "image_folder"
        self.put(place, {"shards/1.parquet": b"12", "shards/2.parquet": b"3", "speech/yes/1.wav": b""})
        assert BucketSource(f"{place.url}/shards" + end).format() == "parquet"
        assert BucketSource(f"{place.url}/shards" + end).sizes() == {
            "shards/1.parquet": 2,
            "shards/2.parquet": 1,
        }
        assert BucketSource(f"{place.url}/speech" + end).format() == "audio_folder"

    def test_a_large_file_comes_in_parts(
        self, place: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bucket_source, "SINGLE_REQUEST", 1000)
        content = os.urandom(5000)
        self.put(place, {"x.npz": content})
        assert BucketSource(f"{place.url}/x.npz").fetch(tmp_path / "w").read_bytes() == content

    def test_the_digest_tells_every_change(self, place: Bucket) -> None:
        seen = set()
        for key, content in (("a.csv", b"1"), ("a.csv", b"2"), ("b.csv", b"2"), ("c/d.csv", b"")):
            self.put(place, {key: content})
            seen.add(BucketSource(place.url).digest())
        assert len(seen) == 4
        assert BucketSource(place.url).digest() in seen

    def test_data_that_changed_since_the_plan_is_refused(self, place: Bucket, tmp_path: Path) -> None:
        self.put(place, {"x.csv": b"1"})
        before = BucketSource(f"{place.url}/x.csv").digest()
        self.put(place, {"x.csv": b"22"})
        with pytest.raises(PipelineError, match="changed since the run was planned"):
            BucketSource(f"{place.url}/x.csv").fetch(tmp_path / "work", before)

    def test_what_is_not_there_or_tells_no_format_is_named(self, place: Bucket) -> None:
        self.put(place, {"flat/x.csv": b"", "flat/y.dat": b"", "x.dat": b""})
        with pytest.raises(
            ExperimentError, match=r"there is nothing at [a-z0-9]+://.*/nothing\.csv; expected"
        ):
            BucketSource(f"{place.url}/nothing.csv").digest()
        with pytest.raises(ExperimentError, match=r"the format of \S*flat is unknown; .*state data\.format"):
            check_source(Data(source=f"{place.url}/flat", target=["y"]))
        with pytest.raises(SourceError, match=r"the format of \S*x\.dat is unknown; expected a suffix"):
            check_source(Data(source=f"{place.url}/x.dat", target=["y"]))
        nowhere = f"{place.url.partition(':')[0]}://nowhere/x.csv"
        with pytest.raises(StoreError, match=r"has no (bucket|container) nowhere"):
            source_of(Data(source=nowhere, target=["y"])).digest()
        with pytest.raises(
            ExperimentError, match=r"source is ftp://b/x\.csv; expected a file or folder on this machine"
        ):
            source_of(Data(source="ftp://b/x.csv", target=["y"])).digest()

    def test_prepare_reads_it_and_a_change_is_another_run(self, place: Bucket, tmp_path: Path) -> None:
        self.put(place, {"rows.csv": ROWS})
        home, experiment = Home(tmp_path / "home"), experiment_of(f"{place.url}/rows.csv")
        check_source(experiment.data)
        plan = make_plan(experiment, gather(experiment, home))
        assert prepared(home, plan)["summary"]["rows"] == {"train": 140, "validation": 20, "test": 40}
        self.put(place, {"rows.csv": b"x,y\n1,low\n"})
        changed = make_plan(experiment, gather(experiment, home))
        assert changed.run != plan.run
        with pytest.raises(PipelineError, match="changed since the run was planned"):
            prepared(home, make_plan(experiment, replace(changed.facts, data=plan.facts.data)))


class TestKept:
    @pytest.fixture(params=["folder", "s3"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        if request.param == "folder":
            return FolderStore(tmp_path / "store")
        s3: S3Server = request.getfixturevalue("s3")
        return S3Store(s3.url(tmp_path.name), cache=tmp_path / "cache")

    def back(self, store: Store, source: Path, to: Path) -> dict[str, bytes]:
        kept = keep_source(store, source)
        copy = lay_out_source(store, kept, to)
        assert copy.parent == to
        assert {ref.digest for ref in refs_in(kept.model_dump(mode="json"))} == {
            found.digest for found in store.objects()
        }
        return tree(copy)

    def test_a_file(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "in", {"letters.csv.gz": b"zipped", "other.csv": b"no"})
        source = tmp_path / "in" / "letters.csv.gz"
        assert self.back(store, source, tmp_path / "out") == {"letters.csv.gz": b"zipped"}

    def test_idx_images_with_their_labels(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "in", IDX)
        self.back(store, tmp_path / "in" / "t10k-images-idx3-ubyte", tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").iterdir()} == IDX.keys() - {"other"}

    def test_a_folder_of_a_few(self, store: Store, tmp_path: Path) -> None:
        files = {"few/a b.csv": b"1", "few/ä/c.csv": b"2", "few/ä/copy.csv": b"2"}
        write(tmp_path / "in", files)
        assert self.back(store, tmp_path / "in" / "few", tmp_path / "out") == files

    def test_a_folder_of_many_is_one_object(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "in", PHOTOS)
        assert self.back(store, tmp_path / "in" / "photos", tmp_path / "out") == PHOTOS
        first = [found.digest for found in store.objects()]
        assert len(first) == 1
        for path in (tmp_path / "in").rglob("*.png"):
            os.utime(path, (1, 1))
        keep_source(store, tmp_path / "in" / "photos")
        assert [found.digest for found in store.objects()] == first  # times are no content


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    write(tmp_path, {"x.csv": b""})
    kept = keep_source(store, tmp_path / "x.csv")
    for name in ("../x.csv", "/x.csv", "a/../../x.csv", ""):
        evil = kept.model_copy(update={"files": (KeptFile(path=name, ref=kept.files[0].ref),)})
        with pytest.raises(PipelineError, match="leads out of its folder"):
            lay_out_source(store, evil, tmp_path / "out")


def test_what_was_removed_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    write(tmp_path, {"x.csv": b"1"})
    kept = keep_source(store, tmp_path / "x.csv")
    store.remove(next(store.objects()).digest)
    with pytest.raises(MissingObjectError, match=r"x\.csv"):
        lay_out_source(store, kept, tmp_path / "out")


def test_prepare_reads_what_was_kept_and_it_is_the_same_run(tmp_path: Path) -> None:
    write(tmp_path, {"rows.csv": ROWS})
    home, experiment = Home(tmp_path / "home"), experiment_of(str(tmp_path / "rows.csv"))
    plain = make_plan(experiment, gather(experiment, home))
    kept = keep_source(home.store, tmp_path / "rows.csv")
    plan = make_plan(experiment, replace(plain.facts, source=kept))
    assert [step.key for step in plan.steps] == [step.key for step in plain.steps]
    assert plan.run == plain.run
    (tmp_path / "rows.csv").unlink()  # as in a pod
    assert prepared(home, plan)["summary"]["rows"] == {"train": 140, "validation": 20, "test": 40}
