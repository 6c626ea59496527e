"""Container images of one layer, written as OCI archives without a builder: a tar in a tar."""

import copy
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def layer_of(binary: Path, target: Path) -> Path:
    """Write a layer that holds one executable, in its root, as `target`."""
    with tarfile.open(target, "w") as tar:
        info = tarfile.TarInfo(binary.name)
        info.size, info.mode = binary.stat().st_size, 0o755
        with binary.open("rb") as file:
            tar.addfile(info, file)
    return target


@dataclass(frozen=True)
class Image:
    """An image without the bytes of its layers: name, config and layer descriptors as OCI documents."""

    name: str
    config: dict[str, Any]
    layers: list[dict[str, Any]]

    def extended(self, name: str, layer: Path, env: Mapping[str, str]) -> "Image":
        """Return this image under another name, with one more layer (a tar) and more variables."""
        config = copy.deepcopy(self.config)
        config["rootfs"]["diff_ids"].append(f"sha256:{_digest(layer)}")
        config.setdefault("history", []).append({"created_by": "tidegate testbed"})
        config["config"].setdefault("Env", []).extend(f"{key}={value}" for key, value in env.items())
        return Image(name, config, [*self.layers, _layer(layer)])


def archive(
    name: str,
    layer: Path,
    target: Path,
    *,
    command: Sequence[str],
    user: str = "",
    env: Mapping[str, str] | None = None,
) -> None:
    """Write an image of the uncompressed layer `layer` that `ctr images import` and buildah read.

    Args:
        name: the image's full name, such as `localhost/pause:1`.
        layer: a tar of the image's root.
        target: the archive; it appears by a rename.
        command: what a container runs.
        user: `uid:gid`; empty is root.
        env: the container's variables.
    """
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": list(command), "User": user},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],  # buildah counts layers by it
    }
    write([Image(name, config, []).extended(name, layer, env or {})], [layer], target)


def write(images: Sequence[Image], layers: Sequence[Path], target: Path) -> None:
    """Write images as one archive with only the layers in `layers`; the importer must have the others."""
    blobs: dict[str, bytes] = {}
    manifests = [_manifest(blobs, image) for image in images]
    temporary = target.with_name(f".tmp-{target.name}")
    with tarfile.open(temporary, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        for blob, content in blobs.items():
            _add(tar, f"blobs/sha256/{blob}", content)
        for layer in layers:
            tar.add(layer, f"blobs/sha256/{_digest(layer)}", filter=_plain)
    temporary.rename(target)


def _manifest(blobs: dict[str, bytes], image: Image) -> dict[str, Any]:
    config = _document(blobs, image.config, "application/vnd.oci.image.config.v1+json")
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": image.layers}
    found = _document(blobs, body, MANIFEST)
    names = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    return found | {"annotations": dict.fromkeys(names, image.name)}


def _layer(path: Path) -> dict[str, Any]:
    return _descriptor(LAYER, _digest(path), path.stat().st_size)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _document(blobs: dict[str, bytes], body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    content = json.dumps(body, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return _descriptor(kind, digest, len(content))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime, info.mode = 0, 0o644
    return info
