"""Turns boto3's errors into sentences that a person can act on.

Credentials and the server's own messages are never repeated: some servers send the access key and the signed string.
"""

import os
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from s3transfer.exceptions import RetriesExceededError

BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "XAdminUserNotFound",  # versitygw
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "401",
}
DENIED = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem", "MethodNotAllowed"}
FULL = {
    "InsufficientStorage",
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "EntityTooLarge",
    "507",
}
WRONG_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"}


def code_of(error: ClientError) -> str:
    """Return S3's error code, or the HTTP status if the response had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: Exception, doing: str, bucket: str, url: str, endpoint: str | None) -> str:
    """Say what went wrong and what to do about it.

    Args:
        error: boto3's error.
        doing: the operation, such as `Reading from`.
        bucket: the bucket's name.
        url: the bucket and prefix.
        endpoint: the server's URL, None for AWS.
    """
    server = f"the S3 server {endpoint}" if endpoint else "AWS S3"
    if isinstance(error, ClientError) and error.operation_name.startswith("AssumeRole"):
        return f"{doing} {url}: {_no_role(error)}"
    if isinstance(error, ClientError):
        return f"{doing} {url}: {_answered(error, bucket, server)}"
    return f"{doing} {url}: {_not_answered(error, server)}"


def _answered(error: ClientError, bucket: str, server: str) -> str:
    code = code_of(error)
    if code in BAD_CREDENTIALS:
        return f"{server} does not accept the credentials that boto3 found ({code}); correct or renew them"
    if code in DENIED:
        return (
            f"{server} denies access ({code}); give these credentials the right to list, get, put and delete "
            f"in the bucket {bucket}, or use others"
        )
    if code == "NoSuchBucket":
        return f"{server} has no bucket {bucket}; create it (aws s3 mb s3://{bucket}), or correct the URL"
    if code in FULL:
        return f"{server} is full ({code}); free some space, or raise the bucket's quota"
    if code in WRONG_REGION:
        return f"the bucket {bucket} is in another region ({code}); set $AWS_REGION to the bucket's"
    if code == "RequestTimeTooSkewed":
        return f"the clocks of this machine and of {server} differ by minutes; correct the wrong one"
    if code in BUSY:
        return f"{server} failed several times ({code}); see its log, or try again later"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
    return f"{server} refused {error.operation_name} ({code}, HTTP {status}); see its log"


def _is_token_service(url: str) -> bool:
    own = os.environ.get("AWS_ENDPOINT_URL_STS", "").rstrip("/")
    return (urlsplit(url).hostname or "").startswith("sts.") or bool(own and url.rstrip("/") == own)


def _no_role(error: ClientError) -> str:
    return (
        f"AWS's token service refused the role ({code_of(error)}); see that the role trusts this service account, and "
        "that AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are those of the pod"
    )


def _not_answered(error: Exception, server: str) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return (
            "boto3 found no credentials for S3; run `aws configure`, or set AWS_PROFILE, "
            "AWS_SHARED_CREDENTIALS_FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, ProfileNotFound):
        return f"{error}; correct AWS_PROFILE, or add that profile with `aws configure`"
    if isinstance(error, SSLError):
        return (
            f"the TLS connection to {server} failed; set AWS_CA_BUNDLE to the file of its certificate authority; "
            "if it does not use TLS, begin the endpoint with http://"
        )
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        asked = str(error.kwargs.get("endpoint_url", ""))
        if _is_token_service(asked):
            return f"AWS's token service {asked} does not answer; let the pods reach it"
        return f"{server} does not answer; start it, or correct the endpoint ($TIDEGATE_S3_ENDPOINT)"
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError | RetriesExceededError):
        return f"{server} closed the connection or stopped answering ({type(error).__name__}); try again when it runs"
    kind = type(error).__name__
    # boto3's message about credentials may contain the output of a credential helper.
    message = "" if isinstance(error, BotoCoreError) and "redential" in kind else f": {error}"
    return f"boto3 failed: {kind}{message}; check the configuration that boto3 finds"
