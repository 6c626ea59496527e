"""OpenSSF's own tool accepts our signatures, and refuses them after any change; we accept its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.bundle.chains import signed, trusting
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE
from tidegate.serving.bundle.signature import PrivateKey
from tidegate.serving.bundle.trust import check_trusted


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
def public(key: PrivateKey, tmp_path: Path) -> Path:
    (tmp_path / "key.pub").write_bytes(key.public.pem)
    return tmp_path / "key.pub"


def model_signing(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "model_signing", *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    return subprocess.run(argv, check=False, env=environment, capture_output=True, text=True, timeout=120)


def verified(bundle: Path, public: Path) -> bool:
    ran = model_signing(
        *("verify", "key", str(bundle), "--signature", str(bundle / SIGNATURE), "--public_key", str(public))
    )
    assert ("Verification succeeded" in ran.stdout) == (ran.returncode == 0), ran.stdout + ran.stderr
    return ran.returncode == 0


def test_a_release_is_accepted(bundle: Path, public: Path) -> None:
    assert verified(bundle, public)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: _flip(bundle / "model.onnx"),
        lambda bundle: _flip(bundle / "chain.json"),
        lambda bundle: _flip(bundle / "bundle.json"),
        lambda bundle: _flip(bundle / SIGNATURE),
        lambda bundle: (bundle / "evil.py").write_text(""),
        lambda bundle: (bundle / "sample.json").unlink(),
    ],
    ids=["weights", "chain", "manifest", "signature", "more", "less"],
)
def test_it_is_refused_after_any_change(bundle: Path, public: Path, change: Callable[[Path], object]) -> None:
    change(bundle)
    assert not verified(bundle, public)


def test_what_the_tool_signs_is_accepted(bundle: Path, key: PrivateKey, public: Path, tmp_path: Path) -> None:
    (bundle / SIGNATURE).unlink()
    private = tmp_path / "key.pem"
    private.write_bytes(key.pem)
    ran = model_signing(
        *("sign", "key", str(bundle), "--signature", str(bundle / SIGNATURE), "--private_key", str(private))
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert check_trusted(open_bundle(bundle), trusting(tmp_path / "trusted", key.public)).id == key.public.id
    assert public.read_bytes() == key.public.pem
