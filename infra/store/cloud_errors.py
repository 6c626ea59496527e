"""Turns obstore's errors into sentences that a person can act on.

obstore has few classes of errors and describes the rest in text, which may hold an address with a signature. That text
is only read, and never repeated.
"""

import re

from obstore.exceptions import InvalidPathError, PermissionDeniedError, UnauthenticatedError

from tidegate.infra.store.cloud_address import CloudAddress

STATUS = re.compile(r"\bstatus(?: code)?: ?(\d{3})\b")
CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
TOKEN = re.compile(
    r"token request|credential|computeMetadata|instance metadata|oauth2|federated|az account", re.I
)
UNANSWERED = re.compile(
    r"error sending request|connect error|tcp connect|dns error|timed out|connection", re.I
)
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
BUSY = {"408", "429", "500", "502", "503", "504"}
FIND_CREDENTIALS = {
    "gs": "run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS to a file, or give the "
    "pod's service account an identity",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or "
    "AZURE_USE_AZURE_CLI=true after `az login`, or give the pod's service account an identity",
}
NAMES = {"gs": "bucket", "az": "container"}
CREATE = {
    "gs": "gcloud storage buckets create gs://{name}",
    "az": "az storage container create --name {name}",
}


def explain(error: Exception, doing: str, address: CloudAddress) -> str:
    """Say what went wrong and what to do about it.

    Args:
        error: obstore's error.
        doing: the operation, such as `Reading from`.
        address: of the bucket.
    """
    return f"{doing} {address.url}: {_reason(error, address)}"


def _reason(error: Exception, address: CloudAddress) -> str:
    server, text = address.server, str(error)
    named = CODE.search(text)
    if isinstance(error, FileNotFoundError) or (named and named[1] in NO_BUCKET):
        create = CREATE[address.scheme].format(name=address.name)
        return f"{server} has no {NAMES[address.scheme]} {address.name}; create it ({create}), or correct the URL"
    if isinstance(error, InvalidPathError):
        return "an object there has a name with an empty part, `.` or `..`; rename it"
    if TOKEN.search(text) and not isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return f"no token for {server} could be had; {FIND_CREDENTIALS[address.scheme]}"
    status = next(iter(STATUS.findall(text)), "")
    code = f" ({named[1]})" if named else f" (HTTP {status})" if status else ""
    if isinstance(error, UnauthenticatedError) or status == "401":
        return f"{server} does not accept the credentials that were found{code}; {FIND_CREDENTIALS[address.scheme]}"
    if isinstance(error, PermissionDeniedError) or status == "403":
        return (
            f"{server} denies access{code}; give these credentials the right to list, read, write and delete in "
            f"{address.name}, or use others"
        )
    if status in BUSY:
        return f"{server} failed several times{code}; see its log, or try again later"
    if status:
        return f"{server} refused the request{code}; see its log"
    if UNANSWERED.search(text):
        return f"{server} does not answer; check the network and the endpoint, or try again later"
    return f"obstore failed ({type(error).__name__}); check the address and the credentials' variables"
