"""Which JSON Web Tokens an endpoint accepts: plain data in the experiment, in a release, and of a server's `--jwt`."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from tidegate.models.config.quantities import seconds

# None of them has a secret that signer and verifier share: who can check a token cannot make one.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Value = str | int | bool
MOST_LEEWAY = 300  # seconds
SECRET = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
IN_URLS = re.compile(r"[!-~]+")
LOCAL = ("127.0.0.1", "::1", "localhost")  # this machine


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | dict) else value


def _as_words(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _as_lists(value: Any) -> Any:
    return {name: _as_list(wanted) for name, wanted in value.items()} if isinstance(value, dict) else value


class Jwt(BaseModel):
    """An issuer of JSON Web Tokens (RFC 7519), and what a token of it must say."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, description="a token's `iss`, to the letter")
    audience: Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=list[str] | str)] = Field(
        min_length=1, description="one of these must be a token's `aud`, or among it"
    )
    jwks: str = Field(
        description="where its public keys are (RFC 7517): a URL with https://, or a secret: HOME/secrets/NAME.jwks "
        "here, the entry `jwks` of a Secret of the namespace on a cluster"
    )
    scope: Annotated[list[str], BeforeValidator(_as_words, json_schema_input_type=list[str] | str)] = Field(
        [], description="all of these must be among a token's `scope` or `scp`"
    )
    claims: Annotated[
        dict[str, Annotated[list[Value], Field(min_length=1)]],
        BeforeValidator(_as_lists, json_schema_input_type=dict[str, list[Value] | Value]),
    ] = Field(
        {},
        description="claims that a token must have, each with one of these values or a list with one of them; "
        "`a.b` is `b` of the object `a`",
    )
    algorithms: list[Algorithm] = Field(
        ["RS256", "ES256"], min_length=1, description="a token's signature must be one of these"
    )
    leeway: Annotated[str, Field(pattern=r"^\d+(s|m)$")] = Field(
        "30s", description="by which the issuer's clock may differ from ours, at most 5m"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = list(self._problems())
        if found:
            raise ValueError("\n".join(found))
        return self

    def _problems(self) -> Iterator[str]:
        if (problem := _problem_of_url(self.jwks)) is not None:
            yield problem
        if self.leeway_seconds > MOST_LEEWAY:
            yield f"leeway is {self.leeway}; expected at most 5m; set the clocks by NTP instead"

    @property
    def leeway_seconds(self) -> int:
        """By which clocks may differ."""
        return int(seconds(self.leeway))

    @property
    def secret(self) -> str:
        """The name of the secret with its keys; "" if they are at a URL."""
        return self.jwks if SECRET.fullmatch(self.jwks) else ""


def _problem_of_url(jwks: str) -> str | None:
    """What is wrong with where keys are said to be; None if it is a secret's name, or a URL that nobody can forge."""
    if SECRET.fullmatch(jwks):
        return None
    try:
        parts = urlsplit(jwks)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if (
        host
        and IN_URLS.fullmatch(jwks)
        and not parts.username
        and (parts.scheme == "https" or (parts.scheme, host in LOCAL) == ("http", True))
    ):
        return None
    return (
        f"jwks is {jwks!r}; expected a URL with https:// (http:// to this machine only: who can change the keys on "
        "their way decides who may ask), with neither blanks nor letters beyond ASCII (%20, xn--…), or a secret's name "
        "such as login; correct it"
    )


def repeated(issuers: Sequence[Jwt]) -> list[str]:
    """The issuers that are there more than once."""
    names = [wanted.issuer for wanted in issuers]
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


def _each_once(issuers: list[Jwt]) -> list[Jwt]:
    for name in repeated(issuers):
        raise ValueError(
            f"the issuer {name!r} is there twice; expected one entry for each; name both audiences in one"
        )
    return issuers


ISSUERS: TypeAdapter[list[Jwt]] = TypeAdapter(
    Annotated[list[Jwt], Field(min_length=1), BeforeValidator(_as_list), AfterValidator(_each_once)],
    config=ConfigDict(defer_build=True),
)
