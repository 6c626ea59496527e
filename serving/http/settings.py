"""How an endpoint's server is set up, beside what it serves."""

from dataclasses import dataclass, field
from typing import Any

from tidegate.serving.errors import ServerError
from tidegate.serving.http.access_log import Journal
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.api_keys import Keys
from tidegate.serving.http.cors import Cors

LOCAL = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """Limits, keys, CORS and logs of one server.

    Attributes:
        limits: see `Limits`.
        keys: who may ask; None for everybody.
        cors: which web pages may ask; None for none of another origin.
        access_log: the share of requests that is logged, 0 to 1.
    """

    limits: Limits = field(default_factory=Limits)
    keys: Keys | None = None
    cors: Cors | None = None
    access_log: float = 0.0

    def journal(self, about: dict[str, Any]) -> Journal:
        """The journal of one release."""
        return Journal(about, self.access_log)


def check_binding(host: str, keys: Keys | None, allow_anonymous: bool) -> None:
    """Refuse to open an endpoint to other machines without a key, unless told to; raises ServerError."""
    if host in LOCAL or keys is not None or allow_anonymous:
        return
    raise ServerError(
        f"host {host} lets other machines ask, and no key is needed; expected --keys FILE (made by "
        "`tidegate keys NAME`), or --allow-anonymous if everybody there may ask"
    )
