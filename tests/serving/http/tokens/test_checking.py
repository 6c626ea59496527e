"""Which tokens are accepted, and what the others are told."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.serving.http.tokens.issuers import NAME, Issuer, Key, issuing, new_key, token
from tidegate.serving.errors import RejectedError
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.tokens import checking
from tidegate.serving.http.tokens.checking import Tokens
from tidegate.serving.http.tokens.settings import Jwt

KEY = new_key()
FAR = 4_000_000_000  # in 2096; the time of now would give each test process other names of tests


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing(KEY) as running:
        yield running


def tokens(issuer: Issuer, **more: Any) -> Tokens:
    """What a server makes of `--jwt`, with the issuer's keys read."""
    known = checking.Issuer(Jwt.model_validate(issuer.settings(**more)), Path())
    known.keys.load()
    return Tokens([known])


def refusal(known: Tokens, word: str) -> RejectedError:
    """Why a token is refused; nobody is told what it says."""
    with pytest.raises(RejectedError) as caught:
        known.check(word.encode())
    ((name, challenge),) = caught.value.headers
    assert (caught.value.status, name) == (401, b"www-authenticate")
    assert challenge.startswith(b'Bearer error="invalid_token", error_description="')
    assert not any(part in str(caught.value) for part in word.split(".") if part)
    return caught.value


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "algorithm",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
)
def test_each_algorithm(algorithm: str) -> None:
    key = new_key(algorithm=algorithm)
    with issuing(key) as running:
        known = tokens(running, algorithms=[algorithm])
        word = token(key)
        assert known.check(word.encode()) == Caller("alice", NAME)
        head, claims, signature = word.split(".")
        damaged = ("A" if signature[0] != "A" else "B") + signature[1:]
        assert "signature is wrong" in str(refusal(known, f"{head}.{claims}.{damaged}"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exp": 1}, "the token ended"),
        ({"exp": "soon"}, "cannot be checked"),
        ({"exp": float("inf")}, "cannot be checked"),
        ({"nbf": FAR}, "not valid yet"),
        ({"iat": FAR}, "not valid yet"),
        ({"aud": ["other", "else"]}, 'another audience; expected "digits"'),
        ({"iss": "https://evil.example/"}, f'of the issuer "https://evil.example/"; expected "{NAME}"'),
        ({"iss": "x" * 9000}, "xxx…; expected"),
        ({"without": ("iss",)}, "of the issuer none"),
        ({"without": ("exp",)}, "has no exp"),
        ({"without": ("aud",)}, "has no aud"),
        ({"without": ("sub",)}, "has no sub"),
        ({"sub": 7}, "cannot be checked"),
        ({"header": {"kid": "unknown"}}, 'names the key "unknown"'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_a_token_must_say(issuer: Issuer, change: dict[str, Any], told: str) -> None:
    assert told in str(refusal(tokens(issuer), token(KEY, **change)))


def test_a_token_that_names_no_key_may_use_the_only_one(issuer: Issuer) -> None:
    word = token(replace(KEY, kid=None))
    assert tokens(issuer).check(word.encode()).name == "alice"
    with issuing(KEY, new_key("second")) as running:
        assert "names the key none" in str(refusal(tokens(running), word))


def test_several_keys_without_a_name_are_tried_in_turn() -> None:
    """As while one replaces another."""
    unnamed = [new_key(None) for _ in range(3)]
    with issuing(*unnamed, KEY) as running:
        known = tokens(running)
        for key in (*unnamed, KEY):
            assert known.check(token(key).encode()).name == "alice"
        assert "signature is wrong" in str(refusal(known, token(new_key(None))))
        assert "the token ended" in str(refusal(known, token(unnamed[0], exp=1)))


def test_clocks_may_differ(issuer: Issuer) -> None:
    late = token(KEY, exp=int(time.time()) - 20).encode()
    assert tokens(issuer).check(late).name == "alice"
    assert "the token ended 2" in str(refusal(tokens(issuer, leeway="5s"), late.decode()))


def test_only_what_a_public_key_can_check(issuer: Issuer) -> None:
    """Not signed at all, or with the public key as a shared secret: both are refused by name, before any check."""
    known = tokens(issuer)
    claims = part({"iss": NAME, "aud": "digits", "sub": "eve", "exp": time.time() + 60})
    for algorithm in ("none", "None", "HS256", "", None, ["ES256"], 7):
        head = f"{part({'alg': algorithm, 'kid': KEY.kid})}.{claims}"
        pem = KEY.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        mac = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b"=")
        for signature in ("", mac.decode()):
            assert "expected RS256, ES256" in str(refusal(known, f"{head}.{signature}"))
    with pytest.raises(ValueError, match="Input should be 'RS256'"):
        Jwt.model_validate(issuer.settings(algorithms=["HS256"]))


def test_a_key_checks_what_it_is_for() -> None:
    """A set may hold other things too: shared secrets, keys to encrypt, weak ones, ones for another algorithm."""
    good, weak = new_key("good", "RS256"), new_key("weak", "RS256", 1024)
    shared = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}
    listed = [
        good.public,
        weak.public,
        shared,
        {**good.public, "kid": "enc", "use": "enc"},
        {**good.public, "kid": "other", "alg": "PS256"},
        {**good.public, "kid": "signs", "key_ops": ["sign"]},
        {**good.public, "kid": "broken", "n": "!"},
        "no key",
        {"kty": "EC", "kid": "curve", "crv": "P-256"},
    ]
    with issuing() as running:
        running.body = json.dumps({"keys": listed}).encode()
        known = tokens(running)
        assert known.check(token(good).encode()).name == "alice"
        for kid in ("weak", "shared", "enc", "other", "signs", "broken", "curve"):
            assert f'names the key "{kid}"' in str(refusal(known, token(good, {"kid": kid})))


@pytest.mark.parametrize(
    "word", ["ey.ey.ey", "eyJhbGciOiJFUzI1NiJ9..", f"ey{'J' * 20000}.e30.", "ey\xff.e30.zzzz"]
)
def test_what_is_no_token(issuer: Issuer, word: str) -> None:
    told = str(refusal(tokens(issuer), word))
    assert "cannot be read; expected a signed JSON Web Token" in told or "expected at most 16384" in told


def test_an_extension_that_must_be_understood(issuer: Issuer) -> None:
    assert "cannot be checked" in str(refusal(tokens(issuer), token(KEY, {"crit": ["exp"], "exp": 1})))


def test_scope_and_claims(issuer: Issuer) -> None:
    known = tokens(
        issuer, scope="predict read", claims={"team": ["ml", "risk"], "realm.roles": "asker", "level": 2}
    )
    said = {"scope": "read predict", "team": "risk", "realm": {"roles": ["asker", "x"]}, "level": 2}
    assert known.check(token(KEY, **said).encode()) == Caller("alice", NAME)
    assert known.check(token(KEY, **said | {"scope": "", "scp": ["predict", "read"]}).encode()).lacks is None
    for change, told in (
        ({"scope": "read"}, 'no scope "predict"'),
        ({"scope": 7}, 'no scope "predict read"'),
        ({"team": "sales"}, 'claim "team" is "sales"; expected "ml" or "risk"'),
        ({"realm": "asker"}, 'claim "realm.roles" is none'),
        ({"level": True}, 'claim "level" is true; expected 2'),
        ({"level": "2"}, 'claim "level" is "2"; expected 2'),
    ):
        caller = known.check(token(KEY, **said | change).encode())
        assert caller.name == "alice" and caller.lacks is not None and told in caller.lacks[1]
    spelled = tokens(issuer, claims={"https://example.org/role": "asker"})
    assert spelled.check(token(KEY, **{"https://example.org/role": "asker"}).encode()).lacks is None


def test_it_is_checked_once_and_forgotten_at_its_end(issuer: Issuer) -> None:
    known = tokens(issuer, leeway="0s")
    word = token(KEY, exp=int(time.time()) + 2).encode()
    assert [known.check(word).name for _ in range(3)] == ["alice"] * 3
    assert len(known._known) == 1
    time.sleep(2)
    assert "the token ended" in str(refusal(known, word.decode()))


def test_no_more_than_so_many_are_remembered(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "REMEMBERED", 3)
    known = tokens(issuer)
    for name in "abcdefg":
        assert known.check(token(KEY, sub=name).encode()).name == name
    assert len(known._known) == 3


def test_several_issuers(issuer: Issuer) -> None:
    other = new_key("second", "RS256")
    with issuing(other) as second:
        given = [issuer.settings(), second.settings(issuer="https://other.example/", audience=["a", "b"])]
        issuers = [checking.Issuer(Jwt.model_validate(wanted), Path()) for wanted in given]
        for known in issuers:
            known.keys.load()
        both = Tokens(issuers)
        assert both.check(token(KEY).encode()) == Caller("alice", NAME)
        named = {"iss": "https://other.example/", "aud": "b"}
        assert both.check(token(other, **named).encode()) == Caller("alice", "https://other.example/")
        assert "names the key" in str(refusal(both, token(KEY, **named)))


def test_a_private_key_in_a_set_is_used_as_a_public_one(tmp_path: Path) -> None:
    key: Key = new_key()
    whole = key.public | {"d": "c2VjcmV0"}
    (tmp_path / "login.jwks").write_text(json.dumps({"keys": [whole]}))
    settings = {"issuer": NAME, "audience": "digits", "jwks": "login"}
    known = checking.Issuer(Jwt.model_validate(settings), tmp_path)
    known.keys.load()
    assert Tokens([known]).check(token(key).encode()).name == "alice"
