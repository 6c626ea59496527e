"""Who may ask a server, from its arguments."""

import os
from pathlib import Path

from pydantic import ValidationError

from tidegate.serving.deployment.handover import SECRETS
from tidegate.serving.errors import ServerError
from tidegate.serving.http.access import Access
from tidegate.serving.http.api_keys import ApiKeys
from tidegate.serving.http.tokens.settings import ISSUERS, Jwt


def access_of(keys: Path | None, jwt: str | None) -> Access | None:
    """Who may ask; None: anybody.

    Args:
        keys: the file of API keys; None: there are none.
        jwt: a JSON file of issuers, or the JSON itself; None: no token is accepted.

    Raises:
        ServerError: one of them cannot be read, or an issuer's keys cannot.
    """
    if keys is None and jwt is None:
        return None
    own = os.environ.get("TIDEGATE_OWN_KEY", "")
    known = ApiKeys(keys, own) if keys is not None or own else None
    if jwt is None:
        return Access(known)
    # PyJWT and cryptography are imported by endpoints with tokens only.
    from tidegate.serving.http.tokens.checking import Issuer, Tokens

    folder = Path(os.environ.get(SECRETS, "."))
    issuers = [Issuer(wanted, folder) for wanted in issuers_in(jwt)]
    for issuer in issuers:
        issuer.keys.load()
    return Access(known, Tokens(issuers), has_keys=keys is not None)


def issuers_in(text: str) -> list[Jwt]:
    """The issuers in a JSON file, or in the JSON itself; raises ServerError."""
    where = "--jwt"
    if not text.lstrip().startswith(("{", "[")):
        where = f"--jwt {text}"
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ServerError(f"{where} cannot be read ({error}); expected a JSON file of issuers") from error
    try:
        return ISSUERS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ServerError(
            f"{where} is not valid{f' at {place}' if place else ''} ({first['msg']}); expected an issuer or a list of "
            'them: {"issuer": …, "audience": …, "jwks": …}; correct it'
        ) from error
