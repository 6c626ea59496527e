"""A cluster's key is in a Secret that only drivers mount; what it has signed is checked with a ConfigMap's keys."""

from __future__ import annotations

import base64
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.jobs import PodRequirements, driver_job
from tidegate.infra.cluster.pods.signing import PRIVATE, SECRET, TRUSTED
from tidegate.infra.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from tidegate.infra.store import FolderStore
from tidegate.pipelines.commands.provenance.signing import signing
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.signing import cluster_keys
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import signing_key
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.serving.bundle.signature import PrivateKey

Object = dict[str, Any]
TARGET = {"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://127.0.0.1:1"}


class Objects:
    """The objects of a namespace, with merge patches as an API server does them."""

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], Object] = {}
        self.forbidden: set[str] = set()

    def get(self, kind: str, name: str) -> Object | None:
        assert kind != "Secret", "nobody reads it from the API"
        return deepcopy(self.there.get((kind, name)))

    def create(self, obj: Object) -> Object:
        key = obj["kind"], obj["metadata"]["name"]
        if key in self.there:
            raise AlreadyExistsError(obj["metadata"]["name"])
        self.there[key] = deepcopy(obj)
        return obj

    def apply(self, obj: Object) -> Object:
        if obj["kind"] in self.forbidden:
            raise ForbiddenError(f"not allowed: {obj['kind']}")
        self.there[obj["kind"], obj["metadata"]["name"]] = deepcopy(obj)
        return obj

    def patch(self, kind: str, name: str, body: Object) -> Object:
        if (kind, name) not in self.there:
            raise NotFoundError(name)
        _merge(self.there[kind, name], body)
        return self.there[kind, name]


def _merge(into: Object, change: Object) -> None:
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
def home(tmp_path: Path, objects: Objects) -> Home:
    home = Home(tmp_path / "home", Target.model_validate(TARGET))
    home.__dict__["cluster"], home.__dict__["store"] = objects, FolderStore(tmp_path / "bucket")
    return home


def secret(objects: Objects) -> PrivateKey:
    return PrivateKey(objects.there["Secret", SECRET]["stringData"][PRIVATE].encode())


def test_rotate_trust_and_distrust(home: Home, objects: Objects, tmp_path: Path) -> None:
    assert signing(home, "list").text.startswith(
        "no key yet, so releases are not signed; `tidegate signing rotate"
    )
    first = signing(home, "rotate").data
    assert first == {"key": secret(objects).public.id, "before": None}
    second = signing(home, "rotate").data
    assert second == {"key": secret(objects).public.id, "before": first["key"]}
    rows = signing(home, "list").data
    assert [(row["key"], row["signs"]) for row in rows] == [(second["key"], True), (first["key"], False)]
    assert {Path(row["file"]).name for row in rows} == {path.name for path in trusted_folder(home).iterdir()}

    other = PrivateKey.new().public
    (tmp_path / "other.pub").write_bytes(other.pem)
    assert signing(home, "trust", str(tmp_path / "other.pub")).data["trusted"]
    assert signing(home, "distrust", first["key"]).data["trusted"] is False
    assert {row["key"] for row in signing(home, "list").data} == {second["key"], other.id}
    assert len(list(trusted_folder(home).iterdir())) == 2  # the copy goes with it
    with pytest.raises(UsageError, match="is the one that signs"):
        signing(home, "distrust", second["key"])
    with pytest.raises(UnknownNameError, match='no trusted key "abc" here'):
        signing(home, "distrust", "abc")


def test_who_may_not_write_secrets_changes_nothing(home: Home, objects: Objects) -> None:
    before = signing(home, "rotate").data["key"]
    kept = secret(objects).pem
    objects.forbidden.add("Secret")
    with pytest.raises(ForbiddenError):
        signing(home, "rotate")
    assert secret(objects).pem == kept
    assert [(row["key"], row["signs"]) for row in signing(home, "list").data] == [(before, True)]
    assert set(objects.there["ConfigMap", TRUSTED]["data"]) == {f"{before}.pub"}


def test_only_a_drivers_pod_has_the_key(
    home: Home, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing(home, "rotate")
    assert signing_key(home) is None  # on a person's machine
    monkeypatch.setattr(cluster_keys, "KEY_FOLDER", str(tmp_path))
    (tmp_path / PRIVATE).write_bytes(secret(objects).pem)
    found = signing_key(home)
    assert found is not None and found.pem == secret(objects).pem
    (tmp_path / PRIVATE).write_bytes(base64.b64encode(b"nonsense"))
    with pytest.raises(Exception, match="the Secret tidegate-signing holds no private key"):
        signing_key(home)


def test_a_driver_starts_without_a_key_too() -> None:
    job = driver_job(run="r", image="i", argv=["x"], requirements=PodRequirements(1, "1Gi"), environment={})
    spec = job["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert volumes["signing"]["secret"] == {"secretName": SECRET, "optional": True, "defaultMode": 0o440}
    assert volumes["trusted"]["configMap"] == {"name": TRUSTED, "optional": True}
    assert all(one["readOnly"] for one in spec["containers"][0]["volumeMounts"] if one["name"] != "scratch")
