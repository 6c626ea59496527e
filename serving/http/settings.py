"""The settings of an endpoint's server: limits, keys, CORS, logs, proofs, and how it is reached."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.serving.errors import ServerError
from tidegate.serving.http.access import Access
from tidegate.serving.http.access_log import AccessLog
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.cors import Cors
from tidegate.serving.http.tokens.settings import LOCAL

if TYPE_CHECKING:
    from tidegate.serving.http.tls import Certificate


@dataclass(frozen=True)
class ServerSettings:
    """Limits, keys, CORS, logs and proofs of one server, and how it is reached.

    Attributes:
        limits: see `Limits`.
        access: who may ask; None: anybody.
        cors: which web pages of other origins may send requests; None: none.
        log_share: the share of requests that the access log holds, 0 to 1.
        prove_every: seconds between two proofs by golden rows; 0: at the start only.
        certificate: what it shows, over TLS; None: it speaks without TLS.
        path_prefix: such as /digits; paths that begin with it are answered like those without it. "": none.
    """

    limits: Limits = field(default_factory=Limits)
    access: Access | None = None
    cors: Cors | None = None
    log_share: float = 0.0
    prove_every: float = field(default_factory=lambda: prove_seconds(stated_prove_every()))
    certificate: "Certificate | None" = None
    path_prefix: str = ""

    def make_access_log(self, about: dict[str, Any]) -> AccessLog:
        """The access log of one release."""
        return AccessLog(about, self.log_share)


def stated_prove_every() -> str:
    """$TIDEGATE_PROVE_EVERY, or an hour."""
    return os.environ.get("TIDEGATE_PROVE_EVERY", "3600")


def prove_seconds(text: str) -> float:
    """Seconds between two proofs, from $TIDEGATE_PROVE_EVERY or `--prove-every`.

    Raises:
        ServerError: it is no number of at least 1, and not 0.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds != 0 and not 1 <= seconds < float("inf"):
        raise ServerError(
            f"{text!r} is not how often a release is proved again; expected seconds of at least 1, or 0 for at the "
            "start only, in --prove-every or $TIDEGATE_PROVE_EVERY"
        )
    return seconds


def check_binding(host: str, access: Access | None, allow_anonymous: bool) -> None:
    """Raise ServerError for an endpoint that other machines reach and anybody may ask, unless that is allowed."""
    if host in LOCAL or access is not None or allow_anonymous:
        return
    raise ServerError(
        f"host {host} is open to other machines without an API key; expected --keys FILE (made by "
        "`tidegate keys NAME`), --jwt, or --allow-anonymous if everybody there may send requests"
    )
