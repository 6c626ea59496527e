"""boto3's description of S3, read when this module is imported, so that a fork server has it for all its children."""

from typing import Any

from botocore.loaders import Loader

LOADER: Any = Loader()
LOADER.load_service_model("s3", "service-2")
LOADER.load_service_model("s3", "endpoint-rule-set-1")
