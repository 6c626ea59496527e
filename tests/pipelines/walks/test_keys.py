"""`serving.keys` and `jwt`: an endpoint that answers only who has a key or a token, verified with a key of its own."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.serving.http.tokens.issuers import NAME, token
from tests.serving.http.tokens.issuers import new_key as signing_key
from tidegate.pipelines.state.home import Home
from tidegate.serving.http.api_keys import new_key

JWT = {"issuer": NAME, "audience": "digits", "jwks": "login", "scope": "predict"}
GIVEN = ("--set", "serving.keys=askers", "--set", "serving.endpoint=guarded")
TOKENS = ("--set", f"serving.jwt={json.dumps(JWT)}")
NO_GATE = ("--set", "gate=none", "--set", "training.epochs=2")


@pytest.fixture(scope="module")
def key(shared: Cli) -> str:
    """Of the only one who may ask, so far."""
    key, line = new_key("alice")
    file = shared.home / "secrets" / "askers.keys"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(f"{line}\n")
    return key


def status_of(url: str, word: str) -> int:
    request = urllib.request.Request(f"{url}/contract", headers={"Authorization": f"Bearer {word}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_only_who_has_a_key_or_a_token_is_answered(shared: Cli, key: str) -> None:
    signer = signing_key()
    login = shared.home / "secrets" / "login.jwks"
    login.touch(mode=0o600)
    login.write_text(json.dumps({"keys": [signer.public]}))
    answer = shared.ok("submit", "wine", *NO_GATE, *GIVEN, *TOKENS)
    assert answer["status"] == "done" and key not in json.dumps(answer)
    row = json.dumps([{}]).encode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(f"{answer['endpoint']}/predict", row), timeout=10)
    assert shared("predict", "guarded", "--json", stdin="[]").code == 1
    words = (
        token(signer, scope="predict"),
        token(signer),
        token(signing_key(), scope="predict"),
        key,
        "no-key",
    )
    assert [status_of(answer["endpoint"], word) for word in words] == [200, 403, 401, 200, 401]
    asked = subprocess.run(
        answer["curl"],
        shell=True,
        env={**os.environ, "TIDEGATE_API_KEY": key},
        capture_output=True,
        check=True,
    )
    assert json.loads(asked.stdout)["release"] == answer["release"]


@pytest.mark.usefixtures("key")
def test_the_key_that_verifies_is_its_owners_alone(shared: Cli) -> None:
    (file,) = Home(shared.home).endpoints.glob("*/own.key")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(
        file.read_bytes() in path.read_bytes()
        for path in shared.home.rglob("*")
        if path.is_file() and path != file
    )


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0o600, "cannot be read"),
        ("alice", 0o600, "holds a line that is not a key"),
        (f"alice {64 * '0'}", 0o644, "chmod 600 it"),
    ],
)
def test_keys_that_cannot_be_used(cli: Cli, content: str | None, mode: int, told: str) -> None:
    file: Path = cli.home / "secrets" / "askers.keys"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if content is not None:
        file.touch()
        file.chmod(mode)
        file.write_text(content)
    refused = cli("submit", "wine", *GIVEN)
    assert refused.code == 2
    assert "serving.keys: askers" in refused.stderr and told in refused.stderr
