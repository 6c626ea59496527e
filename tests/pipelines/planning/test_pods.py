"""`pods` of a target: each key reaches the pods it is meant for, and what cannot hold is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.walks.test_golden import FACTS, PLAIN
from tidegate.pipelines.errors import ExperimentError, UsageError
from tidegate.pipelines.executors.manifests import jobs_of
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.hosting.manifests import endpoint_objects_of
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.targets import Target, find_target
from tidegate.serving.deployment.release import EndpointState

TARGET = {"name": "team", "store": {"url": "s3://models/tidegate"}, "mlflow": "http://mlflow"}


def objects(pods: dict[str, Any], store: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The driver's Job, a step's and the endpoint's Deployment."""
    target = Target.model_validate({**TARGET, "pods": pods} | ({"store": store} if store else {}))
    plan = make_plan(validate(PLAIN, "here"), FACTS)
    driver, step, *_ = jobs_of(target, plan)
    made = endpoint_objects_of(target, plan, EndpointState(name="wine"))
    (endpoint,) = (known for known in made if known["kind"] == "Deployment")
    return {"driver": driver, "steps": step, "endpoints": endpoint}


def spec_of(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["template"]["spec"]
    return found


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {known["name"]: known.get("value") for known in container["env"]}


def test_nothing_is_added_where_nothing_is_asked() -> None:
    empty = {"steps": {}, "driver": {}, "endpoints": {}}
    assert {kind: spec_of(found)["volumes"] for kind, found in objects({}).items()} == {
        kind: spec_of(found)["volumes"] for kind, found in objects(empty).items()
    }
    for made in objects({}).values():
        assert "annotations" not in made["metadata"]
        assert "imagePullSecrets" not in spec_of(made)


def test_a_key_of_all_reaches_every_container() -> None:
    asked = {
        "labels": {"cost-center": "ml"},
        "annotations": {"contact": "ml"},
        "image_pull_secrets": ["registry"],
        "node_selector": {"pool": "ml"},
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "env": {"TZ": "UTC"},
        "volumes": [{"name": "corpus", "path": "/data", "claim": "corpus"}],
        "shm": "1Gi",
        "runtime_class": "gvisor",
    }
    for made in objects(asked).values():
        spec = spec_of(made)
        for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
            assert metadata["labels"]["cost-center"] == "ml"
            assert metadata["labels"]["app.kubernetes.io/managed-by"] == "tidegate"
            assert metadata["annotations"] == {"contact": "ml"}
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert (spec["nodeSelector"], spec["runtimeClassName"]) == ({"pool": "ml"}, "gvisor")
        assert {"key": "team", "operator": "Exists"} in spec["tolerations"]
        volumes = {known["name"]: known for known in spec["volumes"]}
        assert volumes["corpus"]["persistentVolumeClaim"] == {"claimName": "corpus", "readOnly": True}
        assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert variables(container)["TZ"] == "UTC"
            mounts = {known["name"]: known for known in container["volumeMounts"]}
            assert mounts["corpus"] == {"name": "corpus", "mountPath": "/data", "readOnly": True}
            assert mounts["shm"]["mountPath"] == "/dev/shm"
            assert "scratch" in mounts


def test_a_kind_has_its_own_beside_it() -> None:
    made = objects(
        {
            "labels": {"cost-center": "ml", "tier": "any"},
            "endpoints": {"labels": {"tier": "serving"}, "service_account": "serving"},
            "driver": {"env": {"DEBUG": "1"}},
        }
    )
    labels = {kind: found["spec"]["template"]["metadata"]["labels"] for kind, found in made.items()}
    assert {kind: found["tier"] for kind, found in labels.items()} == {
        "driver": "any",
        "steps": "any",
        "endpoints": "serving",
    }
    assert all(found["cost-center"] == "ml" for found in labels.values())
    accounts = [spec_of(found)["serviceAccountName"] for found in made.values()]
    assert accounts == ["tidegate-driver", "tidegate-step", "serving"]
    has = ["DEBUG" in variables(spec_of(found)["containers"][0]) for found in made.values()]
    assert has == [True, False, False]


def test_a_proxy_leaves_the_cluster_alone() -> None:
    for found in objects(
        {"proxy": {"https_proxy": "http://proxy:3128", "no_proxy": ["s3.example.com"]}}
    ).values():
        env = variables(spec_of(found)["containers"][0])
        assert env["HTTPS_PROXY"] == env["https_proxy"] == "http://proxy:3128"
        assert "http_proxy" not in env
        assert env["NO_PROXY"] == env["no_proxy"]
        direct = {"localhost", "127.0.0.1", ".svc", ".cluster.local", "$(KUBERNETES_SERVICE_HOST)"}
        assert set(env["NO_PROXY"].split(",")) == {*direct, "s3.example.com"}


def test_a_certificate_authority_is_told_to_every_library() -> None:
    for found in objects({"ca_bundle": {"config_map": "ca", "key": "all.pem"}}).values():
        spec = spec_of(found)
        volume = next(known for known in spec["volumes"] if known["name"] == "company-ca")
        assert volume["configMap"] == {"name": "ca", "items": [{"key": "all.pem", "path": "ca.crt"}]}
        env = variables(spec["containers"][0])
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            assert env[name] == "/etc/tidegate/ca/ca.crt"


VOLUME = {"name": "a", "path": "/a", "claim": "c"}


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ({"label": {"a": "b"}}, 'unknown key pods.label; did you mean "labels"'),
        ({"steps": {"image": "x"}}, "unknown key pods.steps.image"),
        ({"labels": {"tidegate.dev/run": "x"}}, "tidegate.dev/run is ours; expected another name"),
        ({"env": {"HOME": "/root"}}, "env.HOME is ours"),
        ({"env": {"TIDEGATE_HOME": "/root"}}, "env.TIDEGATE_HOME is ours"),
        ({"env": {"HTTPS_PROXY": "http://a"}, "proxy": {"https_proxy": "http://b"}}, "is what proxy sets"),
        ({"env": {"SSL_CERT_FILE": "/a"}, "ca_bundle": {"config_map": "ca"}}, "is what ca_bundle sets"),
        ({"proxy": {"https_proxy": "proxy:3128"}}, "pods.proxy.https_proxy"),
        (
            {"volumes": [{"name": "a", "path": "/a"}]},
            "no source; expected one of claim, config_map, secret and",
        ),
        ({"volumes": [VOLUME | {"secret": "s"}]}, "received claim and secret; expected one of"),
        ({"volumes": [VOLUME | {"path": "/scratch/x"}]}, "path /scratch/x is ours"),
        (
            {"volumes": [{"name": "a", "path": "/a", "secret": "c", "read_only": False}]},
            "read_only is false for a secret; expected a claim",
        ),
        ({"volumes": [VOLUME, VOLUME | {"path": "/b"}]}, "two volumes have the name a"),
        ({"shm": "much"}, "pods.shm"),
        ({"shm": "0Gi"}, "pods.shm"),
        ({"volumes": [VOLUME, VOLUME | {"name": "b"}]}, "two volumes have the path /a"),
        (
            {"volumes": [VOLUME], "steps": {"volumes": [VOLUME | {"name": "b"}]}},
            "two volumes have the path /a",
        ),
        ({"volumes": [VOLUME | {"name": "scratch"}]}, "name scratch is ours"),
        *(
            ({"volumes": [VOLUME | {"path": path}]}, "pods.volumes.0")
            for path in ("//scratch", "/x/../scratch", "/x:ro", "/dev/x", "/etc/ssl", "x")
        ),
        ({"labels": {"cost center": "ml"}}, "pods.labels"),
        ({"labels": {"team": "m" * 64}}, "pods.labels"),
        ({"labels": {"job-name": "x"}}, "job-name is ours"),
        ({"env": {"A B": "x"}}, "pods.env"),
        ({"env": {"MLFLOW_TRACKING_URI": "x"}}, "env.MLFLOW_TRACKING_URI is ours"),
        (
            {"env": {"NO_PROXY": "x"}, "steps": {"proxy": {"http_proxy": "http://b"}}},
            "steps: env.NO_PROXY is",
        ),
        ({"tolerations": [{"foo": "bar"}]}, "pods.tolerations.0.foo"),
        ({"tolerations": [{"key": "a", "operator": "exists"}]}, "pods.tolerations.0.operator"),
        ({"tolerations": [{"operator": "Equal"}]}, "without a key; expected operator: Exists"),
        ({"image_pull_secrets": ["A_B"]}, "pods.image_pull_secrets.0"),
        ({"ca_bundle": {"config_map": "ca", "key": "../x"}}, "pods.ca_bundle.key"),
    ],
)
def test_what_cannot_hold(tmp_path: Path, pods: dict[str, Any], words: str) -> None:
    document = {key: value for key, value in TARGET.items() if key != "name"} | {"pods": pods}
    (tmp_path / "targets.yaml").write_text(yaml.safe_dump({"team": document}))
    with pytest.raises(UsageError) as error:
        find_target(tmp_path, "team")
    assert words in str(error.value)


def test_an_experiment_adds_what_the_target_allows() -> None:
    target = Target.model_validate({**TARGET, "pods": {"steps": {"node_selector": {"pool": "training"}}}})
    for selector in ({"gpu": "h100"}, {"pool": "training"}):
        target.check_node_selector(selector)
    with pytest.raises(
        ExperimentError, match=r"pool is 'other', and target team has 'training' for its pods"
    ):
        target.check_node_selector({"pool": "other"})


def test_the_page_shows_what_is_taken() -> None:
    page = (Path(__file__).parents[3] / "infra" / "README.md").read_text("utf-8")
    block = next(part for part in page.split("```yaml\n")[1:] if "  pods:" in part).partition("```")[0]
    shown = yaml.safe_load(block)["production"]["pods"]
    assert shown["proxy"]["no_proxy"] == ["s3.example.com"]
    assert {"labels", "ca_bundle", "steps", "endpoints"} <= shown.keys()
    objects(shown)


def containers(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec_of(made).get("initContainers", []), *spec_of(made)["containers"]]


@pytest.mark.parametrize("url", ["s3://models/x", "gs://models/x", "az://models/x"])
def test_with_a_role_no_secret_is_mounted(url: str) -> None:
    for made in objects({}, {"url": url, "credentials": "identity"}).values():
        assert "tidegate-store" not in str(made)
        for container in containers(made):
            assert not [one for one in variables(container) if "CREDENTIALS" in one]
            assert not [one for one in container["volumeMounts"] if one["name"] == "store"]


def test_a_file_of_googles_credentials_is_found_by_its_own_variable() -> None:
    name, path = "GOOGLE_APPLICATION_CREDENTIALS", "/etc/tidegate/store/credentials"
    for kind, made in objects({}, {"url": "gs://models/x"}).items():
        found = [variables(container).get(name) for container in containers(made)]
        assert found == ([path, None] if kind == "endpoints" else [path])
        assert "AWS_SHARED_CREDENTIALS_FILE" not in str(made)


def test_a_token_for_an_audience_is_a_volume() -> None:
    pods = {"volumes": [{"name": "aws", "path": "/tokens", "token": "sts.amazonaws.com"}]}
    token = {"audience": "sts.amazonaws.com", "expirationSeconds": 3600, "path": "token"}
    for made in objects(pods).values():
        (volume,) = (one for one in spec_of(made)["volumes"] if one["name"] == "aws")
        assert volume["projected"] == {"sources": [{"serviceAccountToken": token}]}
