"""What arrives without a signature is not served, and not signed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.small_bundles import PROOF, make_bundle
from tidegate.pipelines.promotion.putting_live import put_live
from tidegate.pipelines.signing.keys import rotate
from tidegate.pipelines.signing.releases import accept_signature
from tidegate.pipelines.state.bundles import fetch_bundle, keep_bundle, signature_key
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.promotions import Promotion
from tidegate.pipelines.state.targets import Target
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.signature import PrivateKey
from tidegate.serving.deployment.release import load
from tidegate.serving.errors import BundleError


def promotion(digest: str) -> Promotion:
    about: dict[str, Any] = {"number": 7, "endpoint": "small", "run": "small-1", "trial": "t", "key": "k"}
    about |= {"bundle": digest, "bento": "small:1", "runtime": "onnx", "parity": PROOF, "created": ""}
    origin = {"promotion": "p", "target": "staging", "place": "s3://bucket/staging", "release": 7}
    rest = {"champion": None, "by": {"user": "ann", "host": "h"}, "reason": "", "created": 0.0}
    return Promotion.model_validate(
        {"id": "p", "key": "p", "release": about | {"state": "live"}, "origin": origin} | rest
    )


def test_a_carried_bundle_is_never_signed_anew(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    digest = keep_bundle(home, make_bundle(tmp_path / "bundle", "small"))
    rotate(home)
    with pytest.raises(BundleError, match=r"has no signature; expected one of a trusted key"):
        put_live(home, promotion(digest))
    assert home.store.read(signature_key(digest)) is None
    assert load(home.store, "small").releases == ()


@pytest.mark.parametrize("trusts", [False, True])
def test_only_a_cluster_that_knows_no_key_takes_what_is_not_signed(tmp_path: Path, trusts: bool) -> None:
    document = {"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://h"}
    home = Home(tmp_path / "far", Target.model_validate(document))
    home.__dict__["store"] = Home(tmp_path / "store").store
    digest = keep_bundle(home, make_bundle(tmp_path / "bundle", "small"))
    bundle = open_bundle(fetch_bundle(home, digest))
    if not trusts:
        assert accept_signature(home, bundle) == ""
        return
    folder, key = home.path / "keys" / "trusted", PrivateKey.new().public
    folder.mkdir(parents=True)
    (folder / f"{key.id}.pub").write_bytes(key.pem)
    with pytest.raises(BundleError, match="has no signature"):
        accept_signature(home, bundle)
