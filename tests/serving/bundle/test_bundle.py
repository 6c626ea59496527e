"""A bundle is exactly what its manifest says, or it is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.errors import BundleError


@pytest.fixture
def copy(images: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(images, tmp_path / "bundle"))


def test_it_opens_with_everything_in_it(images: Path) -> None:
    bundle = open_bundle(images)
    assert bundle.manifest.runtime == "onnx"
    assert bundle.model.name == "model.onnx"
    assert bundle.code is None
    assert len(bundle.sample) == 3
    assert bundle.contract.schema_.inputs[0].shape == (8, 8)


def test_equal_bundles_have_equal_digests(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    first, again, other = (make_bundle(tmp_path / str(n), seed=seed) for n, seed in enumerate((1, 1, 2)))
    digests = [bundle_digest(open_bundle(folder).manifest) for folder in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def _change(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other")


def _remove(folder: Path) -> None:
    (folder / "sample.json").unlink()


def _add(folder: Path) -> None:
    (folder / "evil.py").write_text("")


def _link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "outside.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "outside.onnx")


def _edit(folder: Path, **entry: object) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"].update(entry)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def _climb(folder: Path) -> None:
    _edit(folder, **{"../outside.onnx": {"digest": "0", "size": 1}})


def _unlist(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    del manifest["files"]["model.onnx"]
    (folder / "bundle.json").write_text(json.dumps(manifest))


def _no_manifest(folder: Path) -> None:
    (folder / "bundle.json").unlink()


def _bad_manifest(folder: Path) -> None:
    (folder / "bundle.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_change, "'model.onnx' .* has changed"),
        (_remove, "lacks 'sample.json'"),
        (_add, "holds 'evil.py'"),
        (_link, "'model.onnx' .* is a link"),
        (_climb, "lists the file '../outside.onnx'"),
        (_unlist, "holds 'model.onnx', which its manifest does not list"),
        (_no_manifest, "there is no file bundle.json"),
        (_bad_manifest, "not a manifest of format 1"),
    ],
)
def test_damage_is_refused(copy: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(copy)
    with pytest.raises(BundleError, match=words):
        open_bundle(copy)
