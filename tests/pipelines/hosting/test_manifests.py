"""A release's objects, from the experiment's `serving` part."""

from __future__ import annotations

from tests.cluster.small_bundles import PROOF
from tidegate.infra.cluster.endpoint_objects import release_objects
from tidegate.pipelines.hosting.manifests import spec_of
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import Release


def test_two_issuers_with_one_secret_are_one_file() -> None:
    """Kubernetes refuses a projected volume that has a path twice."""
    about = {"number": 1, "endpoint": "small", "run": "r", "trial": "t", "key": "k", "bundle": "b" * 64}
    issuers = [
        {"issuer": f"https://{name}.example/", "audience": "small", "jwks": secret}
        for name, secret in (("a", "login"), ("b", "login"), ("c", "partner"))
    ]
    rest = {"bento": "small:1", "runtime": "onnx", "parity": PROOF, "created": "", "state": "live"}
    release = Release.model_validate({**about, **rest, "serving": {"jwt": issuers}})
    target = Target.model_validate({"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://h"})
    spec = spec_of(target, 0, release)
    pods = [
        one["spec"]["template"]["spec"]
        for one in release_objects(spec, 1, in_flight=False)
        if one["kind"] == "Deployment"
    ]
    (volume,) = [one for one in pods[0]["volumes"] if one["name"] == "jwks"]
    paths = [item["path"] for one in volume["projected"]["sources"] for item in one["secret"]["items"]]
    assert paths == ["login.jwks", "partner.jwks"]
