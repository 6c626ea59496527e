"""The MLflow server that the user names, without its password: addresses are printed and kept in files.

MLflow's client takes user and password from the address or from two environment variables. Here they move from the
first to the second, so that the client still logs in, and every child process too.
"""

import os
from urllib.parse import unquote, urlsplit, urlunsplit

from tidegate.infra.errors import TrackingError

URI, USER, PASSWORD = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
TOKEN = "MLFLOW_TRACKING_TOKEN"
LOG_IN = f"set ${USER} and ${PASSWORD}, or ${TOKEN}, as MLflow's client takes them"


def outside() -> str | None:
    """Return $MLFLOW_TRACKING_URI without user and password, which this process's environment has from now on.

    Raises:
        TrackingError: the address has a user without a password, which MLflow's client cannot use.
    """
    given = os.environ.get(URI)
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        login, _, host = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        given = urlunsplit((parts.scheme, host, *parts[2:]))
        if not user or not password:
            raise TrackingError(
                f"${URI} for {given} has a user or a password alone; expected http://USER:PASSWORD@HOST; or {LOG_IN}"
            )
        # In the client an address's user comes before these variables, and these before a token.
        os.environ |= {URI: given, USER: unquote(user), PASSWORD: unquote(password)}
    return given.rstrip("/")
