"""`python -m tidegate.infra.store.backup FILE --to URL --keep N`: upload a dump, delete the oldest.

The last step of the CronJob `mlflow-backup`. The S3 server is $TIDEGATE_S3_ENDPOINT, or AWS if that is not set.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from tidegate.infra.errors import StoreError
from tidegate.infra.store import Bucket, open_bucket


def upload(file: Path, bucket: Bucket, keep: int) -> tuple[str, list[str]]:
    """Upload `file` and delete all but the `keep` newest dumps of that name.

    Args:
        file: the dump; the object's key is its name and the time (UTC).
        bucket: the bucket and prefix of the dumps.
        keep: how many dumps stay, at least 1.

    Returns:
        The new object's key below the bucket's prefix, and the keys that were deleted.

    Raises:
        StoreError: the dump is empty, or the server refused it.
    """
    if not file.exists() or not file.stat().st_size:
        raise StoreError(f"{file} is empty or missing; expected a database dump; see why the dump failed")
    key = f"{file.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}{file.suffix}"
    with file.open("rb") as content:
        bucket.upload(content, key)
    old = [found.key for found in bucket.list_objects(f"{file.stem}-")][
        : -max(keep, 1)
    ]  # sorted by key, thus by time
    for name in old:
        bucket.delete(name)
    return key, old


def main() -> None:
    """Upload one dump and print where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m tidegate.infra.store.backup", description="Upload a dump to a bucket."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
    )
    parser.add_argument("--keep", type=int, default=14, metavar="N", help="how many stay (default 14)")
    given = parser.parse_args()
    try:
        bucket = open_bucket(given.to)
        key, old = upload(given.file, bucket, given.keep)
    except StoreError as error:
        sys.exit(str(error))
    print(f"{bucket.url}/{key}", *(f"removed {name}" for name in old), sep="\n")


if __name__ == "__main__":
    main()
