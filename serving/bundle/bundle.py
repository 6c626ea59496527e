"""A bundle: the folder that a bento is built from and that an endpoint serves.

bundle.json       the manifest: name, run, measurements, and the digest of every other file
contract.json     what clients send and receive
transforms.json   from raw columns to model inputs, as data
sample.json       held-out raw rows, for a first request
probes.npz        rows, and what the trained model answers to them, see `models.probing`; older bundles lack it
chain.json        where it comes from, see `bundle.chain`; older bundles lack it
model.sig         the release's signature, see `bundle.signature`; not in the manifest, which it covers
drift.json        the distribution of the training rows, see `bundle.drift_reference`; older bundles lack it
model.onnx        or model.keras
cached.onnx       the model that reads only new tokens of a text, see `export.onnx_cache`; only of some families
slopes.onnx       gradients, where ONNX Runtime explains predictions, see `export.onnx_explainer`
code.json, code/  the user's code that the endpoint runs: the transform, and layers for the TensorFlow runtime
my_model.py       in older bundles in place of these: the model file
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.user_code.code_folder import DOCUMENT, FILES
from tidegate.serving.bundle.bundle_files import FileEntry, bundle_files, check_files, is_code
from tidegate.serving.bundle.chain import Chain
from tidegate.serving.bundle.drift_reference import DriftReference
from tidegate.serving.bundle.manifest import Manifest, bundle_digest
from tidegate.serving.bundle.measurements import Batching, Parity, Probed, Runtime
from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import BundleError
from tidegate.serving.untrusted import check_model

MANIFEST, CONTRACT, TRANSFORMS, SAMPLE = "bundle.json", "contract.json", "transforms.json", "sample.json"
MODEL = {"onnx": "model.onnx", "tensorflow": "model.keras"}
CODE, DRIFT, SLOPES, PROBES = "my_model.py", "drift.json", "slopes.onnx", "probes.npz"
CACHED, CHAIN = "cached.onnx", "chain.json"
ALLOWED = {
    CONTRACT,
    TRANSFORMS,
    SAMPLE,
    CODE,
    DOCUMENT,
    DRIFT,
    SLOPES,
    PROBES,
    CACHED,
    CHAIN,
    *MODEL.values(),
}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its files are those in the manifest, and every digest matched."""

    folder: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The model file."""
        return self.folder / MODEL[self.manifest.runtime]

    @property
    def slopes(self) -> Path:
        """The file that explains predictions, if the contract has `explain`: slopes.onnx, or the model."""
        return self.folder / SLOPES if self.manifest.runtime == "onnx" else self.model

    @property
    def cached(self) -> Path | None:
        """The model that reads only new tokens of a text; None where it reads all tokens again for each."""
        return self.folder / CACHED if CACHED in self.manifest.files else None

    @property
    def probes(self) -> Path | None:
        """Rows and the trained model's answers to them, see `probing.probes`; None in an older bundle."""
        return self.folder / PROBES if PROBES in self.manifest.files else None

    @property
    def code(self) -> Path | None:
        """The `code.json` of the user's code, or in an older bundle the model file; None where none is needed."""
        return next((self.folder / name for name in (DOCUMENT, CODE) if name in self.manifest.files), None)

    @property
    def code_files(self) -> list[Path]:
        """The Python files of the user's code."""
        return [self.folder / name for name in self.manifest.files if name.endswith(".py")]

    @cached_property
    def contract(self) -> Contract:
        """What clients send and receive."""
        return Contract.model_validate(self._json(CONTRACT))

    @cached_property
    def transforms(self) -> Transforms:
        """From raw columns to model inputs."""
        return Transforms.from_dict(self._json(TRANSFORMS))

    @cached_property
    def sample(self) -> list[Any]:
        """A few held-out raw rows, as in a request."""
        return list(self._json(SAMPLE))

    @cached_property
    def reference(self) -> DriftReference | None:
        """The distribution of the training rows; None in an older bundle."""
        return DriftReference.model_validate(self._json(DRIFT)) if DRIFT in self.manifest.files else None

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
    probes: Path | None = None,
    probed: Probed | None = None,
    proof: Literal["training", "answers", "none"] = "training",
    cached: tuple[Path, Parity] | None = None,
    chain: Chain | None = None,
) -> Manifest:
    """Write a bundle; it appears complete as `folder`, and replaces what was there.

    Args:
        folder: of the bundle.
        name: the endpoint's name.
        run: the run that made it.
        trial: the winning trial.
        schema: the data's schema.
        transforms: fitted on the training split.
        model: the `.onnx` or `.keras` file; copied.
        runtime: which runtime serves it.
        parity: how far its predictions differ from the trained model's.
        sample: a few held-out raw rows as JSON values, see `sample_rows`.
        versions: package name to version, of the packages that trained and exported it.
        reason: why the runtime is not ONNX.
        code: the `code.json` of the user's code that the endpoint runs; copied with its folder.
        drift: JSON file of the reference that drift is measured against, as `check_parity` writes it.
        batching: its measurement; None: each request is predicted by itself.
        decoding: how the model's texts or boxes are chosen; None: the default.
        explained: how far its explanations differ from the trained model's; None: predictions are not explained.
        slopes: the ONNX file that explains predictions, where the runtime is ONNX; copied.
        probes: rows and the trained model's answers, as `save_probes` writes them; copied.
        probed: how far the model's own answers to them differ.
        proof: what `parity` is a difference from, see `Manifest`.
        cached: the ONNX file that reads only new tokens, copied, and how far it differs; None: there is none.
        chain: where it comes from; None: it is not known, and the bundle cannot be signed.

    Raises:
        UntrustedModelError: an endpoint would refuse the model.
    """
    check_model(runtime, model, code)
    kept, kept_parity = cached or (None, None)
    for other in (slopes, kept):
        if other is not None:
            check_model("onnx", other)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        length = transforms.text_target.length if transforms.text_target else 0
        own = transforms.own is not None
        contract = Contract.of(schema, transforms.categories, decoding, length, explained is not None, own)
        _write(building / CONTRACT, contract.model_dump(mode="json", exclude_none=True))
        _write(building / TRANSFORMS, transforms.to_dict())
        _write(building / SAMPLE, list(sample))
        if chain is not None:
            _write(building / CHAIN, chain.model_dump(mode="json"))
        shutil.copyfile(model, building / MODEL[runtime])
        if code is not None:
            shutil.copyfile(code, building / DOCUMENT)
            shutil.copytree(code.parent / FILES, building / FILES)
        for file, made in {DRIFT: drift, SLOPES: slopes, PROBES: probes, CACHED: kept}.items():
            if made is not None:
                shutil.copyfile(made, building / file)
        manifest = Manifest(
            name=name,
            run=run,
            trial=trial,
            task=schema.target.task,
            runtime=runtime,
            reason=reason,
            parity=parity,
            versions=dict(versions),
            files={name: FileEntry.of(building / name) for name in bundle_files(building)},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            batching=batching,
            explained=explained,
            probed=probed,
            proof=proof,
        )
        if kept_parity is not None:
            manifest = manifest.model_copy(update={"cached": kept_parity})
        _write(building / MANIFEST, manifest.model_dump(mode="json", exclude=set() if cached else {"cached"}))
        building.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def open_bundle(folder: Path, digest: str | None = None) -> Bundle:
    """Open a bundle after checking every file against the manifest.

    Args:
        folder: of the bundle.
        digest: the bundle's own digest, if the caller knows it: then the manifest is checked too.

    Raises:
        BundleError: no manifest, or a file that is missing, extra, changed, a link or outside the folder.
    """
    manifest = _manifest(folder)
    if digest is not None and bundle_digest(manifest) != digest:
        raise BundleError(
            f"{folder / MANIFEST} was changed: the bundle's digest is {bundle_digest(manifest)}; "
            f"expected {digest}; remove the folder, and it is restored from the store"
        )
    if CODE in manifest.files and manifest.runtime != "tensorflow":
        raise BundleError(
            f"bundle {folder} holds code, {CODE!r}, that the {manifest.runtime} runtime does not use; "
            "expected none; build the bundle again"
        )
    for name in manifest.files:
        if name == MANIFEST or not may_hold(name):
            raise BundleError(
                f"bundle {folder} lists the file {name!r}; expected only {', '.join(sorted(ALLOWED))}; "
                "build the bundle again"
            )
    expected = {CONTRACT, TRANSFORMS, SAMPLE, MODEL[manifest.runtime], *manifest.files}
    check_files(folder, manifest.files, expected, MANIFEST)
    return Bundle(folder, manifest)


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


def may_hold(name: str) -> bool:
    """Whether a bundle may hold a file of this name, relative to it: its own files, and those of the user's code."""
    return name in ALLOWED or name == MANIFEST or is_code(name)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
