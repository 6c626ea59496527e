"""`serving.jwt`: what is refused before a run begins; test_keys.py has an endpoint with tokens."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.serving.http.tokens.issuers import NAME, new_key
from tidegate.pipelines.commands.endpoints.serve import serve
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.handover import SECRETS
from tidegate.serving.http.caller import Caller
from tidegate.serving.server.access import access_of

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
        (f"- {json.dumps(WANTED)}\n- {json.dumps(WANTED)}\n", "is there twice"),
        (json.dumps(WANTED), "secrets/login.jwks cannot be read"),
    ],
)
def test_issuers_of_serve_are_a_file(cli: Cli, tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "issuers.yaml"
    file.write_text(content)
    refused = cli("serve", "no-such-run", "--jwt", str(file))
    assert refused.code == 2 and told in refused.stderr, refused.stderr


def test_serve_finds_the_secrets_of_the_home(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mode that they must have, and by the server that takes this process's place."""
    issuers, limit = tmp_path / "issuers.yaml", tmp_path / "limit.yaml"
    issuers.write_text(json.dumps(WANTED))
    limit.write_text("requests: 5\nper: 1h\n")
    keep(cli, json.dumps({"keys": [new_key().public]}), 0o644)
    refused = cli("serve", "no-such-run", "--jwt", str(issuers))
    assert refused.code == 2 and "chmod 600 it" in refused.stderr, refused.stderr
    keep(cli, json.dumps({"keys": [new_key().public]}))
    (tmp_path / "bundle.json").write_text('{"name": "wine"}')
    began: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda _, argv, env: began.append((argv, env)))
    serve(Home(cli.home), str(tmp_path), 3999, jwt=str(issuers), rate_limit=str(limit))
    ((argv, environment),) = began
    monkeypatch.setenv(SECRETS, environment[SECRETS])
    given = (argv[argv.index(option) + 1] for option in ("--jwt", "--rate-limit"))
    access = access_of(None, *given)
    assert access is not None and access.limiter is not None
    said = dict(access.limiter.take(Caller("alice")))
    assert said[b"ratelimit-policy"] == b'"default";q=5;w=3600'


@pytest.mark.parametrize(
    ("content", "told"), [("per: 1h", "is not usable"), ("requests: 5", "nobody says who asks")]
)
def test_a_limit_of_serve(cli: Cli, tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "limit.yaml"
    file.write_text(content)
    refused = cli("serve", "no-such-run", "--rate-limit", str(file))
    assert refused.code == 2 and told in refused.stderr, refused.stderr
