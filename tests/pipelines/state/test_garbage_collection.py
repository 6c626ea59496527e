"""gc on a target: what a run of any machine needs stays in the bucket, all else goes."""

import json
import os
import time
from pathlib import Path

from tests.bucket_servers import S3Server
from tidegate.infra.store import Ref
from tidegate.infra.store.s3_store import S3Store
from tidegate.pipelines.state.garbage_collection import collect_garbage
from tidegate.pipelines.state.home import Home, RunRecord, StepRecord
from tidegate.pipelines.state.targets import StoreAddress, Target

RUN = "digits-0123abcd"


def kept(home: Home, tmp_path: Path, name: str) -> Ref:
    (tmp_path / name).write_text(name)
    return home.store.put(tmp_path / name)


def written(home: Home, key: str, document: object) -> None:
    home.store.write(key, json.dumps(document).encode(), None)


def test_only_what_nothing_needs_is_removed(s3: S3Server, tmp_path: Path) -> None:
    address = StoreAddress(url=s3.url(tmp_path.name), endpoint=s3.endpoint)
    home = Home(tmp_path / "home", Target(name="there", store=address, mlflow="", context="nowhere"))
    refs = {
        name: kept(home, tmp_path, name) for name in ("model.keras", "my_model.py", "letters.csv", "old.npz")
    }
    known = {name: ref.model_dump() for name, ref in refs.items()}
    step = StepRecord(id="train-0", step="train", status="done", key="k1")
    record = RunRecord(
        run=RUN, name="digits", endpoint="digits", status="done", created=1.0, steps=[step], experiment={}
    )
    written(home, f"records/{RUN}.json", record.model_dump(mode="json"))
    written(home, "steps/k1.json", {"step": "train", "run": RUN, "outputs": {"keras": known["model.keras"]}})
    written(home, "steps/k0.json", {"step": "train", "run": "gone", "outputs": {"old": known["old.npz"]}})
    written(home, "runs/other-1/plan.json", {"facts": {"snapshot": known["my_model.py"]}})
    written(home, "runs/other-1/calls/prepare-1.json", {"inputs": {"source": [known["letters.csv"]]}})
    home.store.fetch(refs["old.npz"])
    assert isinstance(home.store, S3Store)
    upload = home.store.bucket.client.create_multipart_upload(**home.store.bucket.location("objects/ab/cut"))
    assert upload["UploadId"]

    assert collect_garbage(home).names == ["steps/k0.json"]  # all objects are young
    removed = collect_garbage(home, 0.0)
    assert removed.names == [f"object {refs['old.npz'].digest[:12]} (7 bytes)", "objects/ab/cut"]
    assert {found.digest for found in home.store.objects()} == {
        ref.digest for name, ref in refs.items() if name != "old.npz"
    }
    assert not list((home.path / "cache").rglob("*.npz"))
    assert (removed.size, collect_garbage(home, 0.0).names) == (7, [])
    home.store.close()


def test_what_jax_compiled_long_ago_goes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    old, new = (home.compiled / "jax-0123" / name for name in ("old-cache", "new-cache"))
    old.parent.mkdir(parents=True)
    old.write_bytes(b"12345")
    new.write_bytes(b"1")
    month_ago = time.time() - 31 * 86400
    os.utime(old, (month_ago, month_ago))
    removed = collect_garbage(home)
    assert (removed.names, removed.size) == (["compiled old-cache"], 5)
    assert new.is_file() and not old.exists()
