"""A chain of a small bundle of the tests, and a signed bundle."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serving.conftest import PROOF
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE
from tidegate.serving.bundle.chain import Chain
from tidegate.serving.bundle.signature import PrivateKey, PublicKey, sign
from tidegate.serving.bundle.trust import SUFFIX, signed_files


def chain_of(model: Path, **changes: Any) -> Chain:
    """The chain of `write_images`' model; a link is replaced, or with None left out."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    links: dict[str, Any] = {
        "run": "run-1",
        "endpoint": "digits",
        "trial": "trial-1",
        "experiment": "e" * 64,
        "steps": {"prepare": "p" * 64},
        "data": {"source": "d" * 64, "prepared": {"train": "a" * 64}},
        "code": {"steps": {"train": "c" * 64}},
        "lock": {"versions": {"train": {"keras": "3.15.1"}}},
        "weights": {"model.onnx": digest},
        "parity": {"measured": PROOF.model_dump(), "proof": "training", "passed": True},
        "gate": {
            "criteria": [],
            "metric": "test_accuracy",
            "metrics": {"test_accuracy": 0.9},
            "champion": None,
            "passed": True,
        },
    }
    return Chain.model_validate({**links, **changes})


def signed(folder: Path, make_bundle: Callable[..., Path], key: PrivateKey, **changes: Any) -> Path:
    """A bundle with a chain, and its signature."""
    bundle = make_bundle(folder, chain=lambda model: chain_of(model, **changes))
    (bundle / SIGNATURE).write_bytes(sign("digits", signed_files(open_bundle(bundle)), key))
    return bundle


def trusting(folder: Path, *keys: PublicKey) -> Path:
    """A folder of trusted keys."""
    folder.mkdir(exist_ok=True)
    for key in keys:
        (folder / f"{key.id}{SUFFIX}").write_bytes(key.pem)
    return folder
