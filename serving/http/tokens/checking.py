"""JSON Web Tokens: who may ask is said by an issuer, and checked here with its public keys.

A token is checked once, and remembered by its digest until it ends or its issuer's keys change: that takes some 100
microseconds, and looking it up one.
"""

import base64
import binascii
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from jwt import PyJWK
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuedAtError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.tokens.challenges import invalid, quotable
from tidegate.serving.http.tokens.key_set import KeySet
from tidegate.serving.http.tokens.key_source import KeyFile, KeyUrl
from tidegate.serving.http.tokens.settings import Jwt, Value

MOST_BYTES = 16384  # of a token
REMEMBERED = 4096  # tokens
MOST_WORDS = 200  # characters of a claim in a message or a log
REQUIRED = ["exp", "iss", "aud", "sub"]


class _Known(NamedTuple):
    caller: Caller
    until: float  # seconds since 1970
    version: int  # of the issuer's keys


class Issuer:
    """An issuer, its keys, and what its tokens must say.

    Args:
        wanted: what its tokens must say.
        folder: of the files with keys, where its keys are a secret.
    """

    def __init__(self, wanted: Jwt, folder: Path) -> None:
        self.wanted = wanted
        source = KeyFile(folder / f"{wanted.secret}.jwks") if wanted.secret else KeyUrl(wanted.jwks)
        self.keys = KeySet(source, [*wanted.algorithms])


class Tokens:
    """Checks the tokens of issuers.

    Args:
        issuers: each with other `iss`.
    """

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = {issuer.wanted.issuer: issuer for issuer in issuers}
        self._known: dict[bytes, _Known] = {}

    @property
    def key_sets(self) -> list[KeySet]:
        """Of all issuers."""
        return [issuer.keys for issuer in self._issuers.values()]

    def check(self, token: bytes) -> Caller:
        """Who sends a token.

        Raises:
            RejectedError: 401 for one that is not valid; 503 where keys could not be read for too long.
        """
        digest = hashlib.sha256(token).digest()
        found = self._known.get(digest)
        if found is not None:
            issuer = self._issuers[found.caller.issuer]
            issuer.keys.look()
            if found.until > time.time() and found.version == issuer.keys.version and not issuer.keys.stale:
                return found.caller
        known = self._verify(token)
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = known
        return known.caller

    def awaits_keys(self, token: bytes) -> bool:
        """Whether a token names a key that is not known, and keys are being read."""
        if hashlib.sha256(token).digest() in self._known:
            return False
        try:
            header, claims = _unverified(token)
            issuer = self._issuer(claims)
        except RejectedError:
            return False
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(kid, str) or algorithm not in issuer.wanted.algorithms:
            return False
        return not issuer.keys.find(kid, algorithm) and issuer.keys.ask()

    def _issuer(self, claims: Mapping[str, Any]) -> Issuer:
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            expected = " or ".join(map(_words, self._issuers))
            raise invalid(
                f"the token is of the issuer {_words(name)}; expected {expected}; get one from there"
            )
        return issuer

    def _verify(self, token: bytes) -> _Known:
        header, claims = _unverified(token)
        issuer = self._issuer(claims)
        wanted, keys = issuer.wanted, issuer.keys
        keys.look()
        if keys.stale:
            raise RejectedError(
                503, "unavailable", f"{keys.stale}; ask again later", ((b"retry-after", b"60"),)
            )
        algorithm, kid, version = header.get("alg"), header.get("kid"), keys.version
        if algorithm not in wanted.algorithms:
            expected = ", ".join(wanted.algorithms)
            raise invalid(f"the token is signed by {_words(algorithm)}; expected {expected}; get another one")
        fitting = keys.find(kid if isinstance(kid, str) else None, algorithm)
        if not fitting:
            keys.ask()
            raise invalid(
                f"the token names the key {_words(kid)}; expected one of its issuer's for {algorithm}; get a new token"
            )
        try:
            claims = _signed(token, fitting, algorithm, wanted)
        except (
            PyJWTError,
            ArithmeticError,
            TypeError,
            ValueError,
        ) as error:  # also of claims that are no numbers
            raise invalid(_reason(error, claims, wanted)) from None
        until = float(claims["exp"]) + wanted.leeway_seconds
        name = str(claims["sub"])[:MOST_WORDS]
        return _Known(Caller(name, wanted.issuer, lacks=_lacking(claims, wanted)), until, version)


def _signed(token: bytes, keys: Sequence[PyJWK], algorithm: str, wanted: Jwt) -> dict[str, Any]:
    """The claims of a token that one of the keys has signed; raises what the last one's check raises."""
    for number, key in enumerate(keys, 1):
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=wanted.audience,
                issuer=wanted.issuer,
                leeway=wanted.leeway_seconds,
                options={"require": REQUIRED},
            )
        except InvalidSignatureError:
            if number == len(keys):
                raise
    raise InvalidSignatureError


def _unverified(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, which say what to check the token with, and nothing else before that."""
    if len(token) > MOST_BYTES:
        raise invalid(f"the token has {len(token)} bytes; expected at most {MOST_BYTES}")
    try:
        header, claims = (_decoded(part) for part in token.split(b".")[:2])
    except (ValueError, binascii.Error, RecursionError):
        header = claims = None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise invalid("the token cannot be read; expected a signed JSON Web Token; send it as it was issued")
    return header, claims


def _decoded(part: bytes) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))


def _reason(error: Exception, claims: Mapping[str, Any], wanted: Jwt) -> str:
    match error:
        case ExpiredSignatureError():
            return (
                f"the token ended {_ago(claims.get('exp'))}; expected one that is still valid; get a new one"
            )
        case ImmatureSignatureError() | InvalidIssuedAtError():
            return "the token is not valid yet; expected one that is; compare the issuer's clock with ours"
        case InvalidSignatureError():
            return "the token's signature is wrong; expected its issuer's; send it as it was issued"
        case InvalidAudienceError():
            return f"the token is for another audience; expected {' or '.join(map(_words, wanted.audience))}; get one"
        case InvalidIssuerError():
            return f"the token is of another issuer; expected {_words(wanted.issuer)}; get one from there"
        case MissingRequiredClaimError():
            return (
                f"the token has no {error.claim}; expected {', '.join(REQUIRED)} in it; let its issuer add it"
            )
    return "the token cannot be checked; expected a signed JSON Web Token; send it as it was issued"


def _lacking(claims: Mapping[str, Any], wanted: Jwt) -> tuple[str, str] | None:
    """The first thing that a valid token does not say, and would have to."""
    scopes = {*_listed(claims.get("scope")), *_listed(claims.get("scp"))}
    missing = [scope for scope in wanted.scope if scope not in scopes]
    if missing:
        words = (
            f"the token has no scope {_words(' '.join(missing))}; expected it in `scope`; get a token with it"
        )
        return f', scope="{quotable(" ".join(wanted.scope)).decode()}"', words
    for name, values in wanted.claims.items():
        found = _claim(claims, name)
        said = found if isinstance(found, list) else [found]
        # Types count: true is not 1.
        if not any(type(one) is type(value) and one == value for one in said for value in values):
            return (
                "",
                f"the token's claim {_words(name)} is {_words(found)}; expected {_choices(values)}; get another",
            )
    return None


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the path to it within objects."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _choices(values: Sequence[Value]) -> str:
    return " or ".join(map(_words, values))


def _words(value: Any) -> str:
    """A claim in a message: short, and on one line."""
    if value is None:
        return "none"
    text = json.dumps(value)
    return text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]}…"


def _ago(exp: Any) -> str:
    if not isinstance(exp, int | float) or not math.isfinite(exp):
        return "before now"
    return f"{max(0, round(time.time() - exp))} s ago"
