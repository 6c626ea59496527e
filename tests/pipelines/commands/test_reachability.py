"""`check` of a target's store: a server that honours conditional writes is well, and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tidegate.pipelines.commands.checking.reachability import check_store


def test_a_store_that_keeps_what_it_must_is_well(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # which it sets for its process
    item = check_store(f"s3://{s3.bucket}/{tmp_path.name}", None)
    assert item["ok"], item["detail"]
    assert "refuses conflicting writes" in item["detail"]
    assert not [path for path in (s3.folder / tmp_path.name).rglob("*") if path.is_file()]
