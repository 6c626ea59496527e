"""What the API server's refusals mean, as errors whose text says what to do."""

import json
from typing import Any

from tidegate.infra.errors import (
    AlreadyExistsError,
    ClusterError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
)

BUSY = {429, 500, 502, 503, 504}


def error_of(code: int, content: bytes) -> ClusterError:
    """The error of an answer.

    Args:
        code: its HTTP status.
        content: its body, a Status object where the server wrote it.
    """
    status = _json(content)
    message = str(status.get("message") or status.get("reason") or f"HTTP {code}")
    if code == 401:
        return ForbiddenError(f"The cluster does not know these credentials: {message}. Log in again.")
    if code == 403:
        return ForbiddenError(_forbidden(message))
    if code == 404:
        return NotFoundError(message)
    if code == 409 and status.get("reason") == "AlreadyExists":
        return AlreadyExistsError(message)
    if code == 410:
        return ExpiredError(message)
    if code in BUSY or (code == 409 and _is_quota_conflict(status)):
        return UnreachableError(f"The API server is busy or broken (HTTP {code}): {message}")
    return ClusterError(f"The API server refused it (HTTP {code}): {message}")


def _is_quota_conflict(status: dict[str, Any]) -> bool:
    """Whether many objects were created at once, and the quota's count lost the race: nothing was created."""
    return str((status.get("details") or {}).get("kind")) == "resourcequotas"


def unreachable(host: str, error: Exception) -> str:
    """The sentence for a server that does not answer."""
    words = " ".join(str(error).split())[:200]
    return (
        f"The API server {host} cannot be reached: {words}. See that the cluster runs and that the kubeconfig's "
        "address is right (`kubectl cluster-info`)."
    )


def _forbidden(text: str) -> str:
    if "exceeded quota" in text:
        return f"The namespace's quota is full: {text}. Wait until something ends, ask for less, or raise the quota."
    return (
        f"Not allowed: {text}. Expected a Role that permits it: `kubectl apply -k` the manifests again, "
        "and see `tidegate check --target NAME`."
    )


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {"message": content[:300].decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)}
