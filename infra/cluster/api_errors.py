"""Turns error responses of the API server into errors whose message says what to do."""

import json
from typing import Any

from tidegate.infra.errors import (
    AlreadyExistsError,
    ChangedError,
    ClusterError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
)

BUSY = {429, 500, 502, 503, 504}


def error_of(code: int, content: bytes) -> ClusterError:
    """The error for an HTTP response.

    Args:
        code: the HTTP status.
        content: the body; a Status object if the server itself wrote it.
    """
    status = _json(content)
    message = str(status.get("message") or status.get("reason") or f"HTTP {code}")
    if code == 401:
        return ForbiddenError(f"the cluster does not accept these credentials: {message}; log in again")
    if code == 403:
        return ForbiddenError(_forbidden(message))
    if code == 404:
        return NotFoundError(message)
    if code == 409 and status.get("reason") == "AlreadyExists":
        return AlreadyExistsError(message)
    if code == 410:
        return ExpiredError(message)
    if code in BUSY or (code == 409 and _is_quota_conflict(status)):
        return UnreachableError(f"the API server is busy or failing (HTTP {code}): {message}")
    kind = ChangedError if code == 409 else ClusterError
    return kind(f"the API server refused the request (HTTP {code}): {message}")


def _is_quota_conflict(status: dict[str, Any]) -> bool:
    """Whether concurrent creations conflicted in the quota's count; the object was then not created."""
    return str((status.get("details") or {}).get("kind")) == "resourcequotas"


def unreachable(host: str, error: Exception) -> str:
    """The message for a server that does not answer."""
    words = " ".join(str(error).split())[:200]
    return (
        f"the API server {host} cannot be reached: {words}; check that the cluster runs and that the kubeconfig's "
        "address is right (`kubectl cluster-info`)"
    )


def _forbidden(text: str) -> str:
    if "exceeded quota" in text:
        return f"the namespace's quota is full: {text}; wait until something ends, request less, or raise the quota"
    return (
        f"not allowed: {text}; expected a Role that permits it; `kubectl apply -k` the manifests again, "
        "then run `tidegate check --target NAME`"
    )


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {"message": content[:300].decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)}
