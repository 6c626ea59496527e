"""What boto3 raises, in words a person can act on. No credential and no message of the server is repeated:
some servers send the access key and the string that was signed."""

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
    """Return S3's error code; the HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: Exception, doing: str, bucket: str, url: str, endpoint: str | None) -> str:
    """Say what went wrong and what to do about it.

    Args:
        error: what boto3 raised.
        doing: what was being done, such as `Reading from`.
        bucket: the bucket's name.
        url: the place in the bucket.
        endpoint: the server's URL, None for AWS.
    """
    server = f"The S3 server {endpoint}" if endpoint else "AWS S3"
    if isinstance(error, ClientError):
        return f"{doing} {url}: {_answered(error, bucket, server)}"
    return f"{doing} {url}: {_not_answered(error, server)}"


def _answered(error: ClientError, bucket: str, server: str) -> str:
    code = code_of(error)
    if code in BAD_CREDENTIALS:
        return f"{server} does not accept the credentials that boto3 found ({code}). Correct or renew them."
    if code in DENIED:
        return (
            f"{server} denies it ({code}). Give these credentials the right to list, get, put and delete "
            f"in the bucket {bucket}, or use others."
        )
    if code == "NoSuchBucket":
        return f"{server} has no bucket {bucket}. Create it (aws s3 mb s3://{bucket}), or correct the URL."
    if code in FULL:
        return f"{server} has no more room ({code}). Free some, or raise the bucket's quota."
    if code in WRONG_REGION:
        return f"the bucket {bucket} is in another region ({code}). Set $AWS_REGION to the bucket's."
    if code == "RequestTimeTooSkewed":
        return f"the clock of this machine and that of {server} differ by minutes. Correct it."
    if code in BUSY:
        return f"{server} could not do it, asked several times ({code}). See its log, or try again later."
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
    return f"{server} refused {error.operation_name} ({code}, HTTP {status}). See its log."


def _not_answered(error: Exception, server: str) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return (
            "boto3 found no credentials for S3. Run `aws configure`, or set AWS_PROFILE, "
            "AWS_SHARED_CREDENTIALS_FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if isinstance(error, ProfileNotFound):
        return f"{error}. Correct AWS_PROFILE, or add that profile with `aws configure`."
    if isinstance(error, SSLError):
        return (
            f"{server} cannot be spoken to over TLS. Set AWS_CA_BUNDLE to the file of its certificate's authority; "
            "if it has no TLS, the endpoint begins with http://."
        )
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return f"{server} does not answer. Start it, or correct the endpoint ($TIDEGATE_S3_ENDPOINT)."
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError | RetriesExceededError):
        return f"{server} broke off or went silent ({type(error).__name__}). Try again when it runs."
    kind = type(error).__name__
    # The message of an error that boto3 raises about credentials may hold what a credential helper printed.
    said = "" if isinstance(error, BotoCoreError) and "redential" in kind else f": {error}"
    return f"boto3 cannot: {kind}{said}. Look at the configuration that boto3 finds."
