"""Aborts multipart uploads that nobody will complete: S3 stores, and bills, their parts until then."""

import time
from typing import Any

from botocore.exceptions import ClientError

from tidegate.infra.store.s3_bucket import S3Bucket
from tidegate.infra.store.s3_errors import code_of

GONE = "NoSuchUpload"


def abort_uploads(bucket: S3Bucket, older_s: float) -> list[str]:
    """Abort the uploads that received no part for `older_s` seconds; return their keys below the bucket's prefix.

    Raises:
        StoreError: S3 cannot be reached, or does not allow it.
    """
    limit = time.time() - older_s
    with bucket.translate_errors("Sweeping"):
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix=bucket.prefix
        )
        uploads = [upload for page in pages for upload in page.get("Uploads", ())]
        aborted = [upload["Key"] for upload in uploads if _aborted(bucket, upload, limit)]
    return [key.removeprefix(bucket.prefix) for key in aborted]


def _aborted(bucket: S3Bucket, upload: dict[str, Any], limit: float) -> bool:
    """Abort an upload if its last part is older than `limit` (s, epoch); return whether it was aborted."""
    which = {"Bucket": bucket.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    try:
        pages = bucket.client.get_paginator("list_parts").paginate(**which)
        times = [part["LastModified"] for page in pages for part in page.get("Parts", ())]
        if max([upload["Initiated"], *times]).timestamp() > limit:
            return False
        bucket.client.abort_multipart_upload(**which)
    except ClientError as error:
        if code_of(error) == GONE:  # its writer has just completed it
            return False
        raise
    return True
