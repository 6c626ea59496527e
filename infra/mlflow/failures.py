"""What an error of MLflow's client means: its code, why it came, and whether the same call may succeed later."""

import os

from tidegate.infra.mlflow.address import LOG_IN, TOKEN, USER


def code(error: Exception) -> str:
    """Return MLflow's error code if its server responded with an error, "" for any other error."""
    from mlflow.exceptions import RestException

    return str(error.error_code) if isinstance(error, RestException) else ""


def explain(uri: str, error: Exception) -> str:
    """Say why MLflow at `uri` does not do what was asked: a refused login is told from silence."""
    from mlflow.exceptions import MlflowException

    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
    if status in (401, 403):
        who = "no user" if not os.environ.get(USER) else f"the user {os.environ[USER]}"
        who = "the token" if os.environ.get(TOKEN) else who
        return f"MLflow at {uri} refuses {who} with HTTP {status}; expected one that may write; {LOG_IN}"
    return f"MLflow at {uri} cannot be updated: {error}"


def is_transient(error: Exception) -> bool:
    """Return whether the same call may succeed later: MLflow or the disk failed, not the content."""
    from mlflow.exceptions import MlflowException, RestException
    from requests import HTTPError

    if isinstance(error, HTTPError) and error.response is not None:
        return _is_transient_status(error.response.status_code)
    if isinstance(error, RestException):
        return _is_transient_status(error.get_http_status_code())
    return isinstance(error, (MlflowException, OSError))


def _is_transient_status(status: int) -> bool:
    return status >= 500 or status in (408, 425, 429)
