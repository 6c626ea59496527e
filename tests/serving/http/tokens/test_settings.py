"""What an issuer may be, and what is refused with a reason."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import ValidationError

from tests.serving.http.tokens.issuers import NAME, new_key, token
from tidegate.pipelines.hosting.own_key import line_of
from tidegate.serving.errors import RejectedError, ServerError
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.tokens.settings import ISSUERS, Jwt
from tidegate.serving.server.access import access_of, issuers_in

GOOD: dict[str, Any] = {
    "issuer": "https://a.example/",
    "audience": "digits",
    "jwks": "https://a.example/keys",
}


def test_one_or_several_of_each() -> None:
    (one,) = ISSUERS.validate_python(GOOD | {"scope": "a b", "claims": {"team": "ml"}, "leeway": "2m"})
    assert (one.audience, one.scope, one.claims) == (["digits"], ["a", "b"], {"team": ["ml"]})
    assert (one.leeway_seconds, one.secret) == (120, "")
    assert Jwt.model_validate(one.model_dump()) == one
    assert Jwt.model_validate(GOOD | {"jwks": "login"}).secret == "login"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"jwks": "http://login.example.org/keys"}, "expected a URL with https://"),
        ({"jwks": "https://user@login.example.org/keys"}, "expected a URL with https://"),
        ({"jwks": "https://a.example/a b"}, "with neither blanks nor letters beyond ASCII"),
        ({"jwks": "https://ä.example/"}, "with neither blanks nor letters beyond ASCII"),
        ({"jwks": "https://a.example/ä"}, "with neither blanks nor letters beyond ASCII"),
        ({"jwks": "https://a.example/\n"}, "with neither blanks nor letters beyond ASCII"),
        ({"jwks": "https://"}, "expected a URL with https://"),
        ({"jwks": "https://[x/"}, "expected a URL with https://"),
        ({"jwks": "https://a.example:99999/"}, "expected a URL with https://"),
        ({"jwks": "../keys"}, "or a secret's name"),
        ({"jwks": "file:///etc/keys"}, "expected a URL with https://"),
        ({"audience": []}, "at least 1 item"),
        ({"issuer": ""}, "at least 1 character"),
        ({"leeway": "1h"}, "should match pattern"),
        ({"leeway": "6m"}, "leeway is 6m; expected at most 5m"),
        ({"algorithms": []}, "at least 1 item"),
        ({"claims": {"team": []}}, "at least 1 item"),
        ({"secret": "x"}, "Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Jwt.model_validate(GOOD | change)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/keys", "http://localhost/keys", "http://[::1]:80/keys"]
)
def test_this_machine_needs_no_certificate(url: str) -> None:
    assert Jwt.model_validate(GOOD | {"jwks": url}).jwks == url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("absent.json", "--jwt absent.json cannot be read"),
        ("{}", "--jwt is not valid at 0.issuer"),
        ("[]", "expected"),
        ("{", "--jwt is not valid"),
        (json.dumps([GOOD, GOOD | {"audience": "other"}]), "the issuer 'https://a.example/' is there twice"),
    ],
)
def test_what_a_server_is_told(text: str, told: str) -> None:
    with pytest.raises(ServerError) as caught:
        issuers_in(text)
    assert told in str(caught.value) and "expected" in str(caught.value)


def test_nobody_is_asked_where_nothing_is_given() -> None:
    assert access_of(None, None) is None


def test_a_release_is_verified_with_a_key_where_others_have_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "login.jwks").write_text(json.dumps({"keys": [new_key().public]}))
    monkeypatch.setenv("TIDEGATE_SECRETS", str(tmp_path))
    monkeypatch.setenv("TIDEGATE_OWN_KEY", line_of("own-key"))
    access = access_of(None, json.dumps(GOOD | {"jwks": "login"}))
    assert access is not None
    assert access.identify({b"authorization": b"Bearer own-key"}) == Caller("tidegate", own=True)
    with pytest.raises(
        RejectedError, match="the request's token is not valid; expected a token of its issuer"
    ):
        access.identify({b"authorization": b"Bearer other-key"})


@pytest.mark.parametrize("head", ['{ "alg"', '{\n "alg"', ' {"alg"'])
def test_however_an_issuer_writes_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    """Not all begin with `eyJ`: that is only how `{"` looks in base64url."""
    key = new_key()
    (tmp_path / "login.jwks").write_text(json.dumps({"keys": [key.public]}))
    monkeypatch.setenv("TIDEGATE_SECRETS", str(tmp_path))
    access = access_of(None, json.dumps({"issuer": NAME, "audience": "digits", "jwks": "login"}))
    assert access is not None
    parts = (
        f'{head}: "ES256", "kid": "first"}}'.encode(),
        base64.urlsafe_b64decode(token(key).split(".")[1] + "=="),
    )
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = raw(key.private.sign(signed, ECDSA(SHA256())))
    word = signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    assert not word.startswith(b"eyJ")
    assert access.identify({b"authorization": b"Bearer " + word}).name == "alice"


def raw(signature: bytes) -> bytes:
    """A signature as a token has it: two numbers of 32 bytes."""
    return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))
