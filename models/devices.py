"""The GPUs the framework sees; one asked for and not seen is an error before any data is read."""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import GpuNotFoundError


def gpus_seen() -> list[str]:
    """Return the names of the GPUs TensorFlow can use."""
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices("GPU")]


def require_gpus(count: int) -> None:
    """Refuse to go on with fewer than `count` GPUs; 0 asks for nothing and imports nothing.

    Raises:
        GpuNotFoundError: what TensorFlow saw, what the machine shows, and what to do.
    """
    if count < 1:
        return
    seen = gpus_seen()
    if len(seen) < count:
        raise GpuNotFoundError(
            f"resources.gpus is {count} and TensorFlow sees {len(seen)} GPUs ({', '.join(seen) or 'none'})"
            f"{_place()}. {_hint()} Or set resources.gpus: {len(seen)}."
        )


def _place() -> str:
    """Node and image of the pod we run in; nothing elsewhere."""
    node, image = os.environ.get("TIDEGATE_NODE"), os.environ.get("TIDEGATE_IMAGE")
    return f", on node {node} in image {image}" if node and image else ""


def _hint() -> str:
    import tensorflow as tf

    if not Path("/proc/driver/nvidia/version").exists():
        return "No NVIDIA driver is loaded: install it, or run where `nvidia-smi` lists a GPU."
    if not tf.test.is_built_with_cuda():
        return "This TensorFlow has no CUDA: install `tensorflow[and-cuda]` in place of `tensorflow-cpu`."
    return "The driver is there: check CUDA_VISIBLE_DEVICES and that `nvidia-smi` lists the GPU."
