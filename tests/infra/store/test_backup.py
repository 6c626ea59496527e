"""Dumps in a real S3 server: under their date, the newest kept."""

from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tidegate.infra.errors import StoreError
from tidegate.infra.store.backup import upload
from tidegate.infra.store.s3_bucket import S3Bucket


def test_only_the_newest_dumps_of_a_kind_stay(s3: S3Server, tmp_path: Path) -> None:
    bucket = S3Bucket(s3.url("kept/backups"))
    dump, other = tmp_path / "mlflow.dump", tmp_path / "other.dump"
    other.write_text("another database's")
    upload(other, bucket, keep=1)
    keys = []
    for number in range(4):
        dump.write_text(f"dump {number}")
        key, removed = upload(dump, bucket, keep=2)
        assert removed == ([keys[number - 2]] if number >= 2 else [])
        keys.append(key)
    names = [found.key for found in bucket.list_objects()]
    assert names == sorted(keys[-2:]) + [name for name in names if name.startswith("other-")]
    assert len(names) == 3
    newest = bucket.get(keys[-1])
    assert newest is not None
    assert newest[0] == b"dump 3"


def test_an_empty_dump_replaces_nothing(s3: S3Server, tmp_path: Path) -> None:
    bucket = S3Bucket(s3.url("empty/backups"))
    empty = tmp_path / "mlflow.dump"
    empty.touch()
    with pytest.raises(StoreError, match="empty or missing"):
        upload(empty, bucket, keep=1)
    assert list(bucket.list_objects()) == []
