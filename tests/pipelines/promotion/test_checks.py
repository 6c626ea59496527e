"""What a target lacks is refused before anything is copied, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.small_bundles import PROOF, make_bundle
from tidegate.infra.cluster.images import image
from tidegate.infra.errors import ForbiddenError
from tidegate.pipelines.commands.endpoints.promotion_plan import records_nothing
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.promotion.checks import check_target, secrets_of
from tidegate.pipelines.promotion.places import End
from tidegate.pipelines.promotion.putting_live import serving_there
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.serving.bundle.bundle import MANIFEST, PROBES, Bundle, open_bundle
from tidegate.serving.bundle.bundle_files import FileEntry
from tidegate.serving.deployment.release import Release
from tidegate.serving.http.api_keys import new_key
from tidegate.serving.recording.settings import Record

Object = dict[str, Any]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "bundle", "small"))


@pytest.fixture
def proved(bundle: Bundle) -> Bundle:
    """As if it had golden rows, which are not read here."""
    files = {**bundle.manifest.files, PROBES: FileEntry.of(bundle.folder / MANIFEST)}
    return Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": files}))


@pytest.fixture
def here(tmp_path: Path) -> End:
    return End("staging", Home(tmp_path / "here"), "--target staging")


@pytest.fixture
def there(tmp_path: Path) -> End:
    return End("../production", Home(tmp_path / "there"), "--home ../production")


def release(**more: Any) -> Release:
    about = {"number": 7, "endpoint": "small", "run": "small-1", "trial": "t", "key": "k", "bundle": "b" * 64}
    rest = {"bento": "small:1", "runtime": "onnx", "parity": PROOF, "created": "", "state": "live"}
    return Release.model_validate({**about, **rest, **more})


def refused(*given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check_target(*given)
    return str(caught.value)


def test_no_golden_rows(here: End, there: End, bundle: Bundle) -> None:
    assert "has no golden rows" in refused(here, there, release(), bundle)


def test_no_signature(here: End, there: End, proved: Bundle) -> None:
    said = refused(here, there, release(), proved)
    assert said.startswith("release 7 of small at staging is not signed, and ../production takes only")
    assert "`tidegate signing rotate --target staging`" in said


def test_keys_and_secrets_of_a_home(here: End, there: End, proved: Bundle) -> None:
    guarded = release(serving={"keys": "team"}, secrets=("bucket",))
    assert secrets_of(guarded) == ["bucket", "team"]
    assert "serving.keys: team" in refused(here, there, guarded, proved)
    folder = there.home.path / "secrets"
    folder.mkdir()
    for name, content in (("team.keys", new_key("alice")[1]), ("bucket.env", "A=1")):
        assert "team" in (said := refused(here, there, guarded, proved)) or "bucket" in said
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content + "\n")
    assert "is not signed" in refused(here, there, guarded, proved)  # all else is there


def test_a_secret_that_serves_two_ends_is_mounted_once() -> None:
    """Kubernetes refuses a pod with two volumes of one name."""
    issuers = [
        {"issuer": f"https://{name}.example/", "audience": "small", "jwks": secret}
        for name, secret in (("a", "login"), ("b", "login"), ("c", "team"), ("d", "https://d.example/keys"))
    ]
    shared = release(serving={"keys": "team", "jwt": issuers}, secrets=("bucket", "team"))
    assert secrets_of(shared) == ["bucket", "team", "login"]


class Objects:
    """The objects of a namespace and the nodes, as whoever asks may see them."""

    def __init__(self, **kinds: list[Object] | None) -> None:
        self._kinds = kinds

    def list(self, kind: str, *_: Any, **__: Any) -> list[Object]:
        found = self._kinds.get(kind, [])
        if found is None:
            raise ForbiddenError(f"you may not list {kind}")
        return found

    def get(self, kind: str, name: str) -> None:
        del kind, name


def cluster(tmp_path: Path, images: str = "localhost/tidegate", **kinds: list[Object] | None) -> End:
    document = {"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://h", "images": images}
    home = Home(tmp_path / "far", Target.model_validate(document))
    home.__dict__.update(store=Home(tmp_path / "store").store, cluster=Objects(**kinds))
    return End("far", home, "--target far")


def node(images: list[str], cpu: str = "4", memory: str = "8Gi") -> Object:
    status = {"allocatable": {"cpu": cpu, "memory": memory}, "images": [{"names": images}]}
    return {"metadata": {"name": "node"}, "status": status}


IMAGES = [image("localhost/tidegate", name) for name in ("driver", "serve-onnx")]
FULL = [{"status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}}]


@pytest.mark.parametrize(
    ("kinds", "serving", "said"),
    [
        ({"Node": [node([])]}, {}, "no node of far has localhost/tidegate/driver"),
        ({"Node": [node(IMAGES[:1])]}, {}, "no node of far has localhost/tidegate/serve-onnx"),
        ({"Node": [node(IMAGES)]}, {"resources": {"memory": "9Gi"}}, "no node of far has that much"),
        ({"Node": [node(IMAGES, cpu="1")]}, {"resources": {"cpu": 64}}, "no node of far has that much"),
        ({"ResourceQuota": FULL}, {}, "quota of namespace tidegate is used up (pods 3/3)"),
        ({"Node": [node(IMAGES)]}, {"keys": "team"}, ""),  # Secrets are told by a pod
        ({"Node": None, "ResourceQuota": None}, {}, ""),  # who may not look leaves it to the pods
    ],
)
def test_a_cluster(
    here: End, proved: Bundle, tmp_path: Path, kinds: dict[str, Any], serving: Object, said: str
) -> None:
    """Without a key of its own it takes what is not signed, once nothing is lacking."""
    far, wanted = cluster(tmp_path, **kinds), release(serving=serving)
    if said:
        assert said in refused(here, far, wanted, proved)
    else:
        assert check_target(here, far, wanted, proved) == ""


def test_a_cluster_gets_a_release_that_records_without_it(here: End, proved: Bundle, tmp_path: Path) -> None:
    far, wanted = (
        cluster(tmp_path, Node=None, ResourceQuota=None),
        release(serving={"record": {"share": 0.5}}),
    )
    assert check_target(here, far, wanted, proved) == ""
    assert serving_there(wanted, far.home).record is None
    assert serving_there(wanted, here.home).record == Record.model_validate({"share": 0.5})
    plan = {"to": "far", "differs": {"record": [{"share": 0.5}, None]}}
    assert records_nothing(plan).endswith("on this machine, and far is a cluster")
    assert records_nothing({"differs": {}}) == ""


def test_images_of_a_registry_are_pulled(here: End, proved: Bundle, tmp_path: Path) -> None:
    far = cluster(tmp_path, images="registry.example/team", Node=[node([])])
    assert check_target(here, far, release(), proved) == ""
