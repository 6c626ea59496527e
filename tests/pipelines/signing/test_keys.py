"""A home's key is made once and for its owner alone; others are trusted, and no more."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from tidegate.pipelines.commands.provenance.signing import signing
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import current, signing_key
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.signature import PrivateKey


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_it_is_made_at_first_use_for_its_owner_alone(home: Home) -> None:
    assert signing(home, "list").data == []
    assert signing(home, "list").text.startswith("no key yet")
    key = signing_key(home)
    assert key is not None
    path = home.path / "keys" / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = signing_key(home)
    assert again is not None and again.pem == key.pem == path.read_bytes()
    (row,) = signing(home, "list").data
    assert (row["key"], row["signs"]) == (key.public.id, True)
    assert Path(row["file"]).read_bytes() == key.public.pem


def test_two_at_once_make_one_key(home: Home) -> None:
    found: list[PrivateKey | None] = []
    threads = [threading.Thread(target=lambda: found.append(signing_key(Home(home.path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.pem for key in found if key}) == 1
    assert len(found) == 4


def test_a_key_that_others_can_read_is_refused(home: Home) -> None:
    signing_key(home)
    path = home.path / "keys" / "signing.pem"
    path.chmod(0o640)
    with pytest.raises(
        UsageError, match="has mode 0640, so others can read the key; expected 0600; `chmod 600"
    ):
        signing_key(home)
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(
        UsageError, match=r"signing.pem is no private key: .*; restore the file, or move it away"
    ):
        signing_key(home)


def test_rotate_trust_and_distrust(home: Home, tmp_path: Path) -> None:
    first = signing_key(home)
    assert first is not None
    rotated = signing(home, "rotate").data
    assert rotated["before"] == first.public.id
    now = current(home)
    assert now is not None and now.id == rotated["key"] != first.public.id
    assert [row["signs"] for row in signing(home, "list").data] == [
        True,
        False,
    ]  # the former is trusted still

    other = PrivateKey.new()
    (tmp_path / "other.pub").write_bytes(other.public.pem)
    assert signing(home, "trust", str(tmp_path / "other.pub")).data == {
        "key": other.public.id,
        "trusted": True,
    }
    assert len(signing(home, "list").data) == 3
    gone = signing(home, "distrust", first.public.id)
    assert gone.data == {"key": first.public.id, "trusted": False, "releases": []}
    assert {row["key"] for row in signing(home, "list").data} == {now.id, other.public.id}

    (trusted_folder(home) / f"{other.public.id}.pub").rename(trusted_folder(home) / "of-a-colleague.pub")
    assert signing(home, "distrust", other.public.id).data["trusted"] is False
    assert {row["key"] for row in signing(home, "list").data} == {now.id}

    with pytest.raises(UsageError, match=f"key {now.id} is the one that signs"):
        signing(home, "distrust", now.id)
    with pytest.raises(UnknownNameError, match='no trusted key "abc" here'):
        signing(home, "distrust", "abc")


def test_bad_arguments(home: Home, tmp_path: Path) -> None:
    (tmp_path / "private.pem").write_bytes(PrivateKey.new().pem)
    (tmp_path / "text.pub").write_text("hello")
    for file, message in (
        ("private.pem", "is a private key; expected the public one"),
        ("text.pub", "is no public key: .*; expected the PEM of an elliptic key"),
        ("nowhere.pub", "cannot be read: No such file"),
    ):
        with pytest.raises(UsageError, match=message):
            signing(home, "trust", str(tmp_path / file))
    with pytest.raises(UsageError, match="signing trust: received nothing; expected a public key's PEM file"):
        signing(home, "trust")
    with pytest.raises(UsageError, match="signing list: received 'x'; expected no further argument"):
        signing(home, "list", "x")
