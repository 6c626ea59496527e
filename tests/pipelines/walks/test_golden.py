"""The objects of a run and of an endpoint as a person reads them: tests/golden/{run,endpoint}-*.yaml.

After a wanted change `TIDEGATE_GOLDEN=write` in the environment of this test writes them anew; read the difference.
"""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.infra.cluster.jobs import step_name
from tidegate.pipelines.executors.manifests import jobs_of
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.hosting.manifests import endpoint_objects_of
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.step import STEPS
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import EndpointState

GOLDEN = Path(__file__).parents[2] / "golden"
FACTS = Facts(
    data="d" * 64,
    model="",
    code=dict.fromkeys(STEPS, "code"),
    versions={step: {} for step in STEPS},
    trials=1,
)
STORE = {"url": "s3://models/tidegate"}
PLAIN: dict[str, Any] = {"name": "wine", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}
FULL: dict[str, Any] = PLAIN | {
    "search": {
        "method": "random",
        "trials": 2,
        "space": {"training.optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
    },
    "training": {"backend": "jax", "batch_size": 64},
    "resources": {
        "nodes": 4,
        "cpu": 8,
        "memory": "32Gi",
        "gpus": 2,
        "node_selector": {"example.com/gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priority_class": "research",
        "queue": "team-a",
        "deadline": "6h",
    },
    "serving": {
        "endpoint": "cellar",
        "runtime": "tensorflow",
        "replicas": {"min": 2, "max": 6},
        "canary": {"steps": [10, 50, 100], "bake": "5m"},
        "keys": "askers",
        "jwt": [
            {
                "issuer": "https://login.example.com/",
                "audience": "cellar",
                "jwks": "https://login.example.com:8443/keys",
                "scope": "predict",
            },
            {"issuer": "https://sso.auth.svc/", "audience": "cellar", "jwks": "https://sso.auth.svc/keys"},
            {"issuer": "https://partner.example.org/", "audience": "cellar", "jwks": "partner"},
        ],
        "rate_limit": {"requests": 600, "per": "1m", "callers": {"nightly": {"requests": 20, "per": "1s"}}},
        "slo": {"p99_ms": 80, "error_rate": 0.0005},
        "resources": {"cpu": 4, "memory": "3Gi"},
    },
}
TARGETS = {
    "plain": {"name": "team", "store": STORE, "mlflow": "http://mlflow"},
    "identity": {"name": "team", "store": STORE | {"credentials": "identity"}, "mlflow": "http://mlflow"},
    "full": {
        "name": "production",
        "namespace": "models",
        "store": STORE,
        "mlflow": "https://mlflow.example.com",
        "images": "registry.example.com/tidegate",
        "gateway": {"name": "public", "namespace": "gateways", "url": "https://models.example.com"},
        "pods": {
            "labels": {"cost-center": "ml"},
            "annotations": {"example.com/contact": "ml@example.com"},
            "image_pull_secrets": ["registry"],
            "tolerations": [{"key": "team", "operator": "Exists"}],
            "env": {"TZ": "Europe/Oslo"},
            "proxy": {"https_proxy": "http://proxy.example.com:3128", "no_proxy": ["s3.example.com"]},
            "ca_bundle": {"config_map": "company-ca", "key": "bundle.pem"},
            "steps": {
                "node_selector": {"pool": "training"},
                "shm": "2Gi",
                "runtime_class": "nvidia",
                "volumes": [{"name": "corpus", "path": "/data", "claim": "corpus"}],
            },
            "endpoints": {"labels": {"tier": "serving"}, "node_selector": {"pool": "serving"}},
        },
    },
}
# Ways to an endpoint other than a Gateway.
ENTRANCES: dict[str, dict[str, Any]] = {
    "ingress": {
        "ingress": {
            "class": "nginx",
            "host": "models.example.com",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "32m"},
            "tls_secret": "models-tls",
        }
    },
    "tls": {"tls": {"secret": "endpoints-tls", "ca": "-----BEGIN CERTIFICATE-----"}},
}
STATES = {
    "plain": EndpointState(name="wine"),
    "identity": EndpointState(name="wine"),
    "full": EndpointState(name="cellar", incarnation=1),
}


PACKED: dict[str, Any] = PLAIN | {
    "search": {
        "method": "grid",
        "parallelism": 2,
        "pack": 10,
        "space": {"training.seed": {"choices": [1, 2, 3]}},
    }
}


class Spelled(yaml.SafeDumper):
    """Every value where it stands, no references."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


@pytest.mark.parametrize("what", [jobs_of, endpoint_objects_of], ids=["run", "endpoint"])
@pytest.mark.parametrize(
    ("kind", "document"),
    [("plain", PLAIN), ("full", FULL), ("identity", PLAIN)],
    ids=["plain", "full", "identity"],
)
def test_the_objects_of(
    what: Any, kind: str, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.1.0-c0de")
    plan = make_plan(validate(document, "here"), FACTS)
    target = Target.model_validate(TARGETS[kind])
    of_run = what is jobs_of
    objects = jobs_of(target, plan) if of_run else endpoint_objects_of(target, plan, STATES[kind])
    path = GOLDEN / f"{'run' if of_run else 'endpoint'}-{kind}.yaml"
    text = stable(yaml.dump_all(objects, Dumper=Spelled, sort_keys=False, width=110), plan)
    if os.environ.get("TIDEGATE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("kind", ENTRANCES)
def test_the_objects_of_an_endpoint_without_a_gateway(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.1.0-c0de")
    plan = make_plan(validate(PLAIN, "here"), FACTS)
    target = Target.model_validate(TARGETS["plain"] | ENTRANCES[kind])
    assert Target.model_validate_json(target.as_json()) == target  # for its driver
    objects = endpoint_objects_of(target, plan, STATES["plain"])
    path = GOLDEN / f"endpoint-{kind}.yaml"
    text = stable(yaml.dump_all(objects, Dumper=Spelled, sort_keys=False, width=110), plan)
    if os.environ.get("TIDEGATE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_the_objects_of_packed_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.1.0-c0de")
    plan = make_plan(validate(PACKED, "here"), replace(FACTS, trials=3))
    objects = jobs_of(Target.model_validate(TARGETS["plain"]), plan)
    path = GOLDEN / "run-packed.yaml"
    text = stable(yaml.dump_all(objects, Dumper=Spelled, sort_keys=False, width=110), plan)
    if os.environ.get("TIDEGATE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_as_many_packed_pods_as_there_are_at_once() -> None:
    target, names = Target.model_validate(TARGETS["plain"]), []
    for pack, parallelism in ((2, 8), (2, 3), ("auto", 3), ("auto", 20), (1, 2)):
        search = {**PACKED["search"], "pack": pack, "parallelism": parallelism}
        search |= {"space": {"training.seed": {"choices": list(range(10))}}}
        plan = make_plan(validate(PACKED | {"search": search}, "here"), replace(FACTS, trials=10))
        names.append([job["metadata"]["name"].split("-")[0] for job in jobs_of(target, plan)])
    assert [found.count("pack") for found in names] == [5, 3, 3, 10, 0]
    assert [found.count("train") for found in names] == [0, 0, 0, 0, 10]


def stable(text: str, plan: Plan) -> str:
    """Without what changes with every new key of the experiment: the hashes in the ids of run and steps."""
    for step in plan.steps:
        text = text.replace(step_name(plan.run, step.id), f"{step.id}-abcdef")
        text = text.replace(step.id, f"{step.id.rpartition('-')[0]}-0123456789")
    text = text.replace(plan.run, f"{plan.experiment.name}-0123abcd")
    return re.sub(r"^(  name: .*)-[0-9a-f]{6}$", r"\1-abcdef", text, flags=re.M)
