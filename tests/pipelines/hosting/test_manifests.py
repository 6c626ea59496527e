"""A release's objects, from the experiment's `serving` part."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.cluster.small_bundles import PROOF
from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.endpoint import ClusterEndpoint
from tidegate.infra.cluster.endpoint_objects import release_objects
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting.kubernetes import KubernetesHosting
from tidegate.pipelines.hosting.manifests import entrance_of, release_facts, spec_of
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import EndpointState, Release

NO_CLUSTER = cast(Cluster, None)  # it is not asked


def release_of(**facts: Any) -> Release:
    about = {"number": 1, "endpoint": "small", "run": "r", "trial": "t", "key": "k", "bundle": "b" * 64}
    rest = {"bento": "small:1", "runtime": "onnx", "parity": PROOF, "created": "", "state": "live"}
    return Release.model_validate({**about, **rest, **facts})


def target_of(**parts: Any) -> Target:
    store = {"url": "s3://bucket/far"}
    return Target.model_validate({"name": "far", "store": store, "mlflow": "http://h", **parts})


def test_two_issuers_with_one_secret_are_one_file() -> None:
    """Kubernetes refuses a projected volume that has a path twice."""
    issuers = [
        {"issuer": f"https://{name}.example/", "audience": "small", "jwks": secret}
        for name, secret in (("a", "login"), ("b", "login"), ("c", "partner"))
    ]
    release = release_of(serving={"jwt": issuers})
    spec = spec_of(target_of(), 0, release)
    pods = [
        one["spec"]["template"]["spec"]
        for one in release_objects(spec, 1, in_flight=False)
        if one["kind"] == "Deployment"
    ]
    (volume,) = [one for one in pods[0]["volumes"] if one["name"] == "jwks"]
    paths = [item["path"] for one in volume["projected"]["sources"] for item in one["secret"]["items"]]
    assert paths == ["login.jwks", "partner.jwks"]


@pytest.mark.parametrize(
    ("parts", "argument"),
    [({"tls": {"secret": "shown"}}, "--tls-cert"), ({"ingress": {"host": "m.example"}}, "--path-prefix")],
)
def test_a_release_is_served_as_it_was_deployed(parts: dict[str, Any], argument: str) -> None:
    """The image of an earlier one does not know the argument."""
    target, at_this_time = target_of(**parts), release_facts(target_of(**parts), "small")
    for facts, wanted in ((at_this_time, True), ({"tag": "0.1.0-0123456789ab"}, False)):
        objects = release_objects(spec_of(target, 0, release_of(**facts)), 1, in_flight=False)
        assert (argument in str(objects)) is wanted
    # What stands in the store is what earlier versions read, where there is nothing new to say.
    assert not {"tls", "path_prefix"} & release_of().model_dump(mode="json").keys()


def test_an_ingress_of_one_host_does_not_lead_to_a_release_from_before_it() -> None:
    for host, fits in (("m.example", False), ("{endpoint}.m.example", True)):
        target = target_of(ingress={"host": host})
        place = ClusterEndpoint(NO_CLUSTER, "small", entrance_of(target))
        before = spec_of(target, 0, release_of())
        assert place.fits(before) is fits
        assert place.fits(spec_of(target, 0, release_of(**release_facts(target, "small"))))
    assert ClusterEndpoint(NO_CLUSTER, "small", entrance_of(target_of(ingress={"host": "m.e"}))).has_route(
        before
    )


def test_an_endpoint_is_not_called_as_a_path_of_its_server(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", target_of(ingress={"host": "m.example"}))
    with pytest.raises(UsageError, match="below it /metrics is a path of each server itself; choose another"):
        KubernetesHosting(home).check(EndpointState(name="metrics"), Serving())
