"""A bundle is served only with the signature of a trusted key, and a chain that leads to it through parity and gate."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.serving.bundle.chains import chain_of, signed, trusting
from tests.serving.conftest import ROOT
from tidegate.serving.bundle.bundle import CHAIN, MANIFEST, open_bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE
from tidegate.serving.bundle.signature import PrivateKey, PublicKey, sign
from tidegate.serving.bundle.trust import check_trusted, signed_files, trusted_keys
from tidegate.serving.errors import BundleError


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.new()


@pytest.fixture(scope="module")
def kept(key: PrivateKey, make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed(tmp_path_factory.mktemp("signed") / "bundle", make_bundle, key)


@pytest.fixture
def bundle(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "bundle"))


@pytest.fixture
def trusted(key: PrivateKey, tmp_path: Path) -> Path:
    return trusting(tmp_path / "trusted", key.public)


def test_a_signed_bundle_opens_and_any_trusted_key_may_have_signed(
    bundle: Path, key: PrivateKey, tmp_path: Path
) -> None:
    folder = trusting(tmp_path / "many", PrivateKey.new().public, key.public, PrivateKey.new().public)
    assert check_trusted(open_bundle(bundle), folder).id == key.public.id
    assert set(signed_files(open_bundle(bundle))) == {path.name for path in bundle.iterdir()} - {SIGNATURE}


def _unsigned(bundle: Path) -> None:
    (bundle / SIGNATURE).unlink()


def _other(bundle: Path) -> None:
    (bundle / SIGNATURE).write_bytes(sign("digits", signed_files(open_bundle(bundle)), PrivateKey.new()))


def _manifest(bundle: Path) -> None:
    """What no file's digest in the manifest covers: the manifest itself."""
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace('"reason": ""', '"reason": "none"'))


def _edited(bundle: Path, change: Callable[[Any], None]) -> None:
    document = json.loads((bundle / SIGNATURE).read_text())
    change(document)
    (bundle / SIGNATURE).write_text(json.dumps(document))


def _payload(bundle: Path) -> None:
    def change(document: Any) -> None:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b"chain.json", b"chain.jsom")
        document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()

    _edited(bundle, change)


def _no_envelope(bundle: Path) -> None:
    _edited(bundle, lambda document: document.pop("dsseEnvelope"))


def _kind(bundle: Path) -> None:
    _edited(bundle, lambda document: document.update(mediaType="application/json"))


def _nothing(bundle: Path) -> None:
    (bundle / SIGNATURE).write_bytes(b"\xff")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unsigned, "has no signature, model.sig; expected one of a trusted key"),
        (_other, "expected one that is trusted"),
        (_manifest, "it is of other files than the bundle has: bundle.json"),
        (_payload, "it was not made with key"),
        (_no_envelope, "it cannot be read"),
        (_kind, "it is of another kind"),
        (_nothing, "it cannot be read"),
    ],
)
def test_what_is_not_signed_right_is_refused(
    bundle: Path, trusted: Path, change: Callable[[Path], None], message: str
) -> None:
    change(bundle)
    with pytest.raises(BundleError, match=message):
        check_trusted(open_bundle(bundle), trusted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parity": None}, "the chain of run run-1 lacks parity"),
        ({"gate": None}, "the chain of run run-1 lacks the gate"),
        ({"run": "run-2"}, "the chain is of run 'run-2'; expected the bundle's, 'run-1'"),
        ({"weights": {"model.onnx": "0" * 64}}, "which is none of the chain's weights"),
    ],
)
def test_a_signed_chain_that_does_not_lead_to_the_bundle_is_refused(
    key: PrivateKey,
    trusted: Path,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    bundle = signed(tmp_path / "bundle", make_bundle, key, **changes)
    with pytest.raises(BundleError, match=message):
        check_trusted(open_bundle(bundle), trusted)


@pytest.mark.parametrize("link", ["parity", "gate"])
def test_a_chain_that_says_that_a_link_did_not_hold_is_refused(
    key: PrivateKey, trusted: Path, make_bundle: Callable[..., Path], kept: Path, tmp_path: Path, link: str
) -> None:
    held = chain_of(kept / "model.onnx").model_dump()[link]
    bundle = signed(tmp_path / "bundle", make_bundle, key, **{link: {**held, "passed": False}})
    with pytest.raises(BundleError, match="not reached" if link == "parity" else "not passed"):
        check_trusted(open_bundle(bundle), trusted)


def test_a_bundle_without_a_chain_is_refused(
    key: PrivateKey, trusted: Path, images: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(images, tmp_path / "bundle"))
    (bundle / SIGNATURE).write_bytes(sign("digits", signed_files(open_bundle(bundle)), key))
    with pytest.raises(BundleError, match=f"has no {CHAIN}; expected one with parity and gate"):
        check_trusted(open_bundle(bundle), trusted)


def test_keys_of_other_kinds_are_refused(trusted: Path) -> None:
    curve = ec.generate_private_key(ec.SECP384R1())
    pem, public = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    for other in (curve, ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(ValueError, match="no elliptic key on P-256"):
            PublicKey(other.public_key().public_bytes(pem, public))
        with pytest.raises(ValueError, match="no elliptic key on P-256"):
            PrivateKey(other.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match="cannot be used"):
        PrivateKey(curve.private_bytes(pem, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    (trusted / "x.pub").write_text("nonsense")
    with pytest.raises(BundleError, match=r"x\.pub is no public key"):
        list(trusted_keys(trusted))


def _serve(bundle: Path, trusted: Path) -> subprocess.CompletedProcess[str]:
    """A server that is to start; it ends by itself only when it refuses."""
    argv = [sys.executable, "-P", "-m", "tidegate.serving.server", "--bundle", str(bundle)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TIDEGATE_TRUSTED_KEYS": str(trusted)}
    return subprocess.run(argv, check=False, env=environment, capture_output=True, text=True, timeout=60)


def test_a_server_refuses_a_bundle_that_was_tampered_with(bundle: Path, trusted: Path) -> None:
    _manifest(bundle)
    ran = _serve(bundle, trusted)
    assert (ran.returncode, "signature (model.sig) is wrong" in ran.stderr) == (1, True)


def test_a_server_serves_what_is_signed(
    bundle: Path, trusted: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_TRUSTED_KEYS", str(trusted))
    assert serve(bundle).ask("GET", "/readyz")[0] == 200
