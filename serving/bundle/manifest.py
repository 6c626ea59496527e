"""What a bundle's `bundle.json` says, and the digest that identifies the bundle by it."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidegate.models.preprocessing.schema import Task
from tidegate.serving.bundle.bundle_files import FileEntry
from tidegate.serving.bundle.measurements import Batching, Parity, Probed, Runtime


class Manifest(BaseModel):
    """The content of `bundle.json`.

    Attributes:
        reason: why the runtime is not ONNX.
        versions: of the packages that trained and exported the model.
        batching: its measurement; None in older bundles, whose endpoints predict each request by itself.
        probed: how far its answers to probes are from the trained model's; None: there are no probes.
        proof: what `parity` is a difference from: the answers of the process that trained the model, the given ones of
            its own framework, or none, so that it only says that the file answers as it did when it was imported.
        cached: the parity of the file that reads only new tokens; None: there is none, and the manifest's file has no
            such key.
        explained: the parity of the explanations with the trained model's; None: predictions are not explained.
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
    files: dict[str, FileEntry]
    created: str
    batching: Batching | None = None
    explained: Parity | None = None
    probed: Probed | None = None
    proof: Literal["training", "answers", "none"] = "training"
    cached: Parity | None = None


def bundle_digest(manifest: Manifest) -> str:
    """The sha256 (hex) that identifies a bundle by its content: equal for equal files, whenever it was built.

    It covers the fields that the manifest's file has, so that a field added to `Manifest` later does not change the
    digest of an older bundle, except the measured speeds, which differ each time.
    """
    content = manifest.model_dump(mode="json", exclude={"created", "batching"}, exclude_unset=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
