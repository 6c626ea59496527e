"""Who may ask a server, from its arguments."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from tidegate.serving.deployment.handover import SECRETS
from tidegate.serving.errors import ServerError
from tidegate.serving.http.access import Access
from tidegate.serving.http.api_keys import ApiKeys
from tidegate.serving.http.rate_limit import RateLimiter
from tidegate.serving.http.rates import RateLimit
from tidegate.serving.http.tokens.settings import ISSUERS, Jwt

Read = TypeVar("Read")
RATE: TypeAdapter[RateLimit] = TypeAdapter(RateLimit)
RATE_FORM = '{"requests": 100, "per": "1m"}'
ISSUERS_FORM = 'an issuer or a list of them: {"issuer": …, "audience": …, "jwks": …}'


def access_of(keys: Path | None, jwt: str | None, limit: str | None = None) -> Access | None:
    """Who may ask, and how often; None: anybody.

    Args:
        keys: the file of API keys; None: there are none.
        jwt: a JSON file of issuers, or the JSON itself; None: no token is accepted.
        limit: the same with a `RateLimit`; None: callers may send any number of requests.

    Raises:
        ServerError: one of them cannot be read, or an issuer's keys cannot; a limit without keys and tokens.
    """
    limiter = None if limit is None else RateLimiter(read_option("--rate-limit", limit, RATE, RATE_FORM))
    if keys is None and jwt is None:
        if limiter is not None:
            raise ServerError(
                "--rate-limit is for each caller, and nobody says who asks; expected --keys or --jwt beside it; add one"
            )
        return None
    own = os.environ.get("TIDEGATE_OWN_KEY", "")
    known = ApiKeys(keys, own) if keys is not None or own else None
    if jwt is None:
        return Access(known, limiter=limiter)
    # PyJWT and cryptography are imported by endpoints with tokens only.
    from tidegate.serving.http.tokens.checking import Issuer, Tokens

    folder = Path(os.environ.get(SECRETS, "."))
    issuers = [Issuer(wanted, folder) for wanted in issuers_in(jwt)]
    for issuer in issuers:
        issuer.keys.load()
    return Access(known, Tokens(issuers), limiter, has_keys=keys is not None)


def issuers_in(text: str) -> list[Jwt]:
    """The issuers in a JSON file, or in the JSON itself; raises ServerError."""
    return read_option("--jwt", text, ISSUERS, ISSUERS_FORM)


def read_option(option: str, text: str, kind: TypeAdapter[Read], expected: str) -> Read:
    """The value of an option: a JSON file, or the JSON itself; raises ServerError."""
    where = option
    if not text.lstrip().startswith(("{", "[")):
        where = f"{option} {text}"
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ServerError(f"{where} cannot be read ({error}); expected a JSON file") from error
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        at = f" at {place}" if place else ""
        raise ServerError(
            f"{where} is not valid{at} ({first['msg']}); expected {expected}; correct it"
        ) from error
