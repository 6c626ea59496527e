"""`serving.jwt`: what is refused before a run begins; test_keys.py has an endpoint with tokens."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.serving.http.tokens.issuers import NAME, new_key

WANTED = {"issuer": NAME, "audience": "digits", "jwks": "login", "scope": "predict"}


def given(endpoint: str, **more: Any) -> tuple[str, ...]:
    return ("--set", f"serving.jwt={json.dumps(WANTED | more)}", "--set", f"serving.endpoint={endpoint}")


def keep(cli: Cli, content: str, mode: int = 0o600) -> None:
    file = cli.home / "secrets" / "login.jwks"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=mode)
    file.chmod(mode)
    file.write_text(content)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("half", 0o600, "has no JSON Web Key Set"),
        ('{"keys": []}', 0o600, "has no key for RS256 or ES256"),
        (json.dumps({"keys": [new_key().public]}), 0o644, "chmod 600 it"),
    ],
)
def test_keys_that_cannot_be_used(cli: Cli, content: str, mode: int, told: str) -> None:
    keep(cli, content, mode)
    refused = cli("submit", "wine", *given("tokens"))
    assert refused.code == 2
    assert "serving.jwt: login" in refused.stderr and told in refused.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"algorithms": ["HS256"]}, "serving.jwt.algorithms.0"),
        ({"jwks": "http://login.example.org/"}, "expected a URL with https://"),
        ({"secret": "s3cret"}, "secret"),
    ],
)
def test_what_an_experiment_cannot_ask_for(cli: Cli, change: dict[str, Any], told: str) -> None:
    refused = cli("plan", "wine", *given("tokens", **change))
    assert refused.code == 2 and told in refused.stderr, refused.stderr


def test_an_issuer_is_named_once(cli: Cli) -> None:
    refused = cli("plan", "wine", "--set", f"serving.jwt={json.dumps([WANTED, WANTED])}")
    assert refused.code == 2 and f"jwt has the issuer '{NAME}' twice" in refused.stderr


def test_a_limit_is_of_somebody(cli: Cli) -> None:
    limit = json.dumps({"requests": 5})
    refused = cli("plan", "wine", "--set", f"serving.rate_limit={limit}")
    assert refused.code == 2 and "nobody says who asks; expected keys or jwt beside it" in refused.stderr
    keep(cli, json.dumps({"keys": [new_key().public]}))
    assert cli("plan", "wine", "--set", f"serving.rate_limit={limit}", *given("tokens")).code == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("issuer: https://a.example/\n", "is not usable"),
        ("[", "is not usable"),
        ("issuer: https://a.example/\naudience: digits\njwks: login\n", "no-such-run"),  # the file is fine
    ],
)
def test_issuers_of_serve_are_a_file(cli: Cli, tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "issuers.yaml"
    file.write_text(content)
    refused = cli("serve", "no-such-run", "--jwt", str(file))
    assert refused.code == 2 and told in refused.stderr, refused.stderr
