"""A store in an S3 bucket, on AWS or any S3-compatible server."""

from pathlib import Path

from tidegate.infra.store.bucket import PART_SIZE
from tidegate.infra.store.bucket_store import BucketStore
from tidegate.infra.store.s3_bucket import S3Bucket
from tidegate.infra.store.s3_uploads import abort_uploads


class S3Store(BucketStore):
    """A store in an S3 bucket, whose server answers `If-Match` and `If-None-Match`.

    Args:
        url: s3://BUCKET/PREFIX.
        cache: as for `BucketStore`.
        endpoint, style, part_size: as for `S3Bucket`.
    """

    bucket: S3Bucket

    def __init__(
        self,
        url: str,
        *,
        cache: Path | None = None,
        endpoint: str | None = None,
        style: str | None = None,
        part_size: int = PART_SIZE,
    ) -> None:
        super().__init__(S3Bucket(url, endpoint=endpoint, style=style, part_size=part_size), cache)

    def sweep(self, older_s: float = 3600.0) -> list[str]:
        """Also abort the multipart uploads that killed writers left: S3 bills their parts until then."""
        return abort_uploads(self.bucket, older_s) + super().sweep(older_s)
