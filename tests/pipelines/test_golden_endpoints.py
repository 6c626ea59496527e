"""The objects of an endpoint as a person reads them: tests/golden/endpoint-*.yaml.

After a wanted change `TIDEGATE_GOLDEN=write` in the environment of this test writes them anew; read the difference.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.hosting.manifests import endpoint_objects_of
from pipelines.load import validate
from pipelines.plan import STEPS, Facts, make_plan
from pipelines.targets import Target
from serving.release import EndpointState

GOLDEN = Path(__file__).parents[1] / "golden"
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
    "serving": {
        "endpoint": "cellar",
        "runtime": "tensorflow",
        "replicas": {"min": 2, "max": 6},
        "canary": {"steps": [10, 50, 100], "bake": "5m"},
        "slo": {"p99_ms": 80, "error_rate": 0.0005},
        "resources": {"cpu": 4, "memory": "3Gi"},
    }
}
TARGETS = {
    "plain": {"name": "team", "store": STORE, "mlflow": "http://mlflow"},
    "full": {
        "name": "production",
        "namespace": "models",
        "store": STORE,
        "mlflow": "https://mlflow.example.com",
        "images": "registry.example.com/tidegate",
        "gateway": {"name": "public", "namespace": "gateways", "url": "https://models.example.com"},
    },
}
STATES = {"plain": EndpointState(name="wine"), "full": EndpointState(name="cellar", incarnation=1)}


class Spelled(yaml.SafeDumper):
    """Every value where it stands, no references."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


@pytest.mark.parametrize(("kind", "document"), [("plain", PLAIN), ("full", FULL)])
def test_an_endpoints_objects(kind: str, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.1.0-c0de")
    plan = make_plan(validate(document, "here"), FACTS)
    target = Target.model_validate(TARGETS[kind])
    objects = endpoint_objects_of(target, plan, STATES[kind])
    text = yaml.dump_all(objects, Dumper=Spelled, sort_keys=False, width=110)
    text = text.replace(
        plan.run, f"{document['name']}-0123abcd"
    )  # it changes with every new key of the experiment
    path = GOLDEN / f"endpoint-{kind}.yaml"
    if os.environ.get("TIDEGATE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
