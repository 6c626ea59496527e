"""`python -m infra.backup FILE --to s3://BUCKET/PREFIX --keep N`: upload a dump under its date, drop the oldest.

What the CronJob `mlflow-backup` ends with. S3 is that of $TIDEGATE_S3_ENDPOINT, or AWS where that is not set.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.errors import StoreError


def upload(file: Path, url: str, keep: int, client: Any) -> tuple[str, list[str]]:
    """Upload `file` and delete all but the `keep` newest of its kind.

    Args:
        file: the dump; its name and the time (UTC) make the object's.
        url: `s3://BUCKET/PREFIX`.
        keep: how many dumps stay, at least 1.
        client: a boto3 S3 client.

    Returns:
        The new object's URL, and the keys that were deleted.

    Raises:
        StoreError: the dump is empty, or S3 refused it.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    if not file.exists() or not file.stat().st_size:
        raise StoreError(f"{file} is empty or missing: there is no dump to upload.")
    place = urlsplit(url)
    bucket, prefix = place.netloc, f"{place.path.strip('/')}/{file.stem}-"
    key = f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}{file.suffix}"
    try:
        client.upload_file(str(file), bucket, key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = sorted(item["Key"] for page in pages for item in page.get("Contents", []))
        old = keys[: -max(keep, 1)]
        for name in old:
            client.delete_object(Bucket=bucket, Key=name)
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise StoreError(f"S3 refused the backup {url}: {error}") from error
    return f"s3://{bucket}/{key}", old


def main() -> None:
    """Upload one dump and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m infra.backup", description="Upload a dump to S3.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--to", required=True, metavar="URL", help="s3://BUCKET/PREFIX")
    parser.add_argument("--keep", type=int, default=14, metavar="N", help="how many stay (default 14)")
    given = parser.parse_args()
    try:
        where, old = upload(given.file, given.to, given.keep, _client())
    except StoreError as error:
        sys.exit(str(error))
    print(where, *(f"removed {key}" for key in old), sep="\n")


def _client() -> Any:
    import boto3
    from botocore.config import Config

    endpoint = os.environ.get("TIDEGATE_S3_ENDPOINT") or None
    options: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
    if endpoint:
        options |= {"request_checksum_calculation": "when_required", "s3": {"addressing_style": "path"}}
    return boto3.client("s3", endpoint_url=endpoint, config=Config(**options))


if __name__ == "__main__":
    main()
