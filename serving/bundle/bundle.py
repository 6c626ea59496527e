"""A bundle: the folder that a bento is built from and that an endpoint serves.

bundle.json       the manifest: what it is, where it comes from, the digest of every other file
contract.json     what clients send and get
transforms.json   raw columns to model inputs, as data
sample.json       held-out raw rows, for a first request
drift.json        how the training rows are spread, see `bundle.drift_reference`; older bundles lack it
model.onnx        or model.keras
slopes.onnx       where ONNX Runtime explains predictions, see `export.onnx_explainer`
my_model.py       only where the TensorFlow runtime needs the experiment's own layers
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.preprocessing.schema import Schema, Task
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.drift_reference import Reference
from tidegate.serving.bundle.measurements import Batching, Parity, Runtime
from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import BundleError
from tidegate.serving.untrusted import check_model

MANIFEST, CONTRACT, TRANSFORMS, SAMPLE = "bundle.json", "contract.json", "transforms.json", "sample.json"
MODEL = {"onnx": "model.onnx", "tensorflow": "model.keras"}
CODE, DRIFT, SLOPES = "my_model.py", "drift.json", "slopes.onnx"
ALLOWED = {CONTRACT, TRANSFORMS, SAMPLE, CODE, DRIFT, SLOPES, *MODEL.values()}


class Entry(BaseModel):
    """One file: its sha256 (hex) and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    size: int


class Manifest(BaseModel):
    """What a bundle is.

    `reason` says why the runtime is not ONNX, `versions` what it was made with, `batching` what was measured of
    requests predicted together; older bundles lack it, and their endpoints predict each by itself. `explained` is the
    proof that it explains as the trained model does; None: it does not explain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str
    run: str
    trial: str
    task: Task
    runtime: Runtime
    reason: str = ""
    parity: Parity
    versions: dict[str, str]
    files: dict[str, Entry]
    created: str
    batching: Batching | None = None
    explained: Parity | None = None


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: every file was there, nothing else was, and every digest matched."""

    folder: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The model file."""
        return self.folder / MODEL[self.manifest.runtime]

    @property
    def slopes(self) -> Path:
        """What explains predictions, if the contract says that they are: a file of its own, or the model itself."""
        return self.folder / SLOPES if self.manifest.runtime == "onnx" else self.model

    @property
    def code(self) -> Path | None:
        """The experiment's own model file, if it is needed to load the model."""
        return self.folder / CODE if CODE in self.manifest.files else None

    @cached_property
    def contract(self) -> Contract:
        """What clients send and get."""
        return Contract.model_validate(self._json(CONTRACT))

    @cached_property
    def transforms(self) -> Transforms:
        """Raw columns to model inputs."""
        return Transforms.from_dict(self._json(TRANSFORMS))

    @cached_property
    def sample(self) -> list[Any]:
        """A few held-out raw rows as a request has them."""
        return list(self._json(SAMPLE))

    @cached_property
    def reference(self) -> Reference | None:
        """How the training rows are spread; None in an older bundle."""
        return Reference.model_validate(self._json(DRIFT)) if DRIFT in self.manifest.files else None

    def _json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))


def write_bundle(
    folder: Path,
    *,
    name: str,
    run: str,
    trial: str,
    schema: Schema,
    transforms: Transforms,
    model: Path,
    runtime: Runtime,
    parity: Parity,
    sample: Sequence[Any],
    versions: Mapping[str, str],
    reason: str = "",
    code: Path | None = None,
    drift: Path | None = None,
    batching: Batching | None = None,
    decoding: DecodingSettings | None = None,
    explained: Parity | None = None,
    slopes: Path | None = None,
) -> Manifest:
    """Write a bundle; it appears whole under `folder`, in place of what was there.

    Args:
        folder: where it goes.
        name: the endpoint's name.
        run: the run it comes from.
        trial: the winning trial.
        schema: the data's schema.
        transforms: fitted on the training split.
        model: the `.onnx` or `.keras` file; copied.
        runtime: which runtime serves it.
        parity: the proof that it predicts what the trained model does.
        sample: a few held-out raw rows, JSON-able, see `sample_rows`.
        versions: package name to version, of what trained and exported it.
        reason: why the runtime is not ONNX.
        code: the experiment's own model file, for its layers.
        drift: JSON file of the reference that drift is measured against, as `prove` writes it.
        batching: what was measured of requests predicted together; None: not measured, each by itself.
        decoding: how texts are chosen, of a model that writes them, or boxes, of one that finds them; None: the
            default.
        explained: the proof that it explains as the trained model does; None: it does not explain.
        slopes: the ONNX file that explains, where the runtime is ONNX; copied.

    Raises:
        UntrustedModelError: no endpoint would load the model.
    """
    check_model(runtime, model, code)
    if slopes is not None:
        check_model("onnx", slopes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        length = transforms.text_target.length if transforms.text_target else 0
        contract = Contract.of(schema, transforms.categories, decoding, length, explained is not None)
        _write(building / CONTRACT, contract.model_dump(mode="json", exclude_none=True))
        _write(building / TRANSFORMS, transforms.to_dict())
        _write(building / SAMPLE, list(sample))
        shutil.copyfile(model, building / MODEL[runtime])
        if code is not None and runtime == "tensorflow":
            shutil.copyfile(code, building / CODE)
        if drift is not None:
            shutil.copyfile(drift, building / DRIFT)
        if slopes is not None:
            shutil.copyfile(slopes, building / SLOPES)
        manifest = Manifest(
            name=name,
            run=run,
            trial=trial,
            task=schema.target.task,
            runtime=runtime,
            reason=reason,
            parity=parity,
            versions=dict(versions),
            files={path.name: _entry(path) for path in sorted(building.iterdir())},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            batching=batching,
            explained=explained,
        )
        _write(building / MANIFEST, manifest.model_dump(mode="json"))
        building.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def open_bundle(folder: Path, digest: str | None = None) -> Bundle:
    """Open a bundle after checking every file against the manifest.

    Args:
        folder: where it lies.
        digest: the bundle's own digest, where the caller knows it: then the manifest is checked too.

    Raises:
        BundleError: no manifest, or a file that is missing, extra, changed, a link or outside the folder.
    """
    manifest = _manifest(folder)
    if digest is not None and bundle_digest(manifest) != digest:
        raise BundleError(
            f"{folder / MANIFEST} was changed: the bundle's digest is {bundle_digest(manifest)}; "
            f"expected {digest}; remove the folder, and it is laid out again from the store"
        )
    if CODE in manifest.files and manifest.runtime != "tensorflow":
        raise BundleError(
            f"bundle {folder} holds code, {CODE!r}, that the {manifest.runtime} runtime has no use for; "
            "expected none; build the bundle again"
        )
    for name in manifest.files:
        if name not in ALLOWED:
            raise BundleError(
                f"bundle {folder} lists the file {name!r}; expected only {', '.join(sorted(ALLOWED))}; "
                "build the bundle again"
            )
    expected = {CONTRACT, TRANSFORMS, SAMPLE, MODEL[manifest.runtime], *manifest.files}
    found = {entry.name: entry for entry in os.scandir(folder) if entry.name != MANIFEST}
    for name in sorted(expected | set(found)):
        _check(folder, name, manifest.files.get(name), found.get(name))
    return Bundle(folder, manifest)


def bundle_digest(manifest: Manifest) -> str:
    """The sha256 (hex) that names an opened bundle by content: equal for equal files, whenever it was built.

    Over what the manifest's file states, so that a field added here later changes no older bundle's name; without
    the speeds, which are others each time.
    """
    content = manifest.model_dump(mode="json", exclude={"created", "batching"}, exclude_unset=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise BundleError(
            f"{folder} is not a bundle: there is no file {MANIFEST}; expected a bundle's folder"
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise BundleError(
            f"{path} is not a manifest of format 1 ({error}); build the bundle again"
        ) from error


def _check(folder: Path, name: str, entry: Entry | None, found: "os.DirEntry[str] | None") -> None:
    fix = "the bundle was damaged or tampered with: build it again"
    if entry is None:
        raise BundleError(f"bundle {folder} holds {name!r}, which its manifest does not list; {fix}")
    if found is None:
        raise BundleError(f"bundle {folder} lacks {name!r}, which its manifest lists; {fix}")
    if not found.is_file(follow_symlinks=False):
        raise BundleError(f"{name!r} in bundle {folder} is a link or no file; expected a plain file; {fix}")
    actual = _entry(Path(found.path))
    if actual != entry:
        raise BundleError(
            f"{name!r} in bundle {folder} has changed: its sha256 is {actual.digest}; "
            f"expected {entry.digest}; {fix}"
        )


def _entry(path: Path) -> Entry:
    with path.open("rb") as file:
        return Entry(digest=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
