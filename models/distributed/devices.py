"""The GPUs the framework sees; one asked for and not seen is an error before any data is read."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from tidegate.models.config.training import keras_backend
from tidegate.models.errors import GpuNotFoundError, OptionsError

BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch", "numpy": "NumPy"}


# Without them, sums on a GPU are of another order each time; cuBLAS' is the workspace that its manual asks for.
DETERMINISTIC = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def configure_backend(backend: str) -> None:
    """Set the environment that Keras and its backend read when they are imported, which must not have been yet.

    On a GPU too a training repeats to the bit then; see also `families.build.make_deterministic`.

    Args:
        backend: the experiment's.
    """
    os.environ["KERAS_BACKEND"] = keras_backend(backend)
    for name, value in DETERMINISTIC.items():
        if value not in os.environ.get(name, ""):
            os.environ[name] = f"{os.environ.get(name, '')} {value}".strip()
    if backend == "torch":  # else its threads spin for each other: three times slower on a busy machine
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def require_backend(backend: str) -> None:
    """Refuse a backend whose package is not installed here; imports nothing.

    Raises:
        OptionsError: what to install.
    """
    package = "tensorflow" if backend == "numpy" else backend
    if find_spec(package) is None:
        others = ", ".join(name for name in BACKEND_NAMES if name != backend)
        raise OptionsError(
            f"Option 'training.backend' is {backend!r}, and the package {package} is not installed here. "
            f"Install it with `pip install {package}`, or choose another: {others}."
        )


def require_equal_shares(backend: str, gpus: int, nodes: int, batch_size: int) -> None:
    """Refuse several devices where a backend can not share a batch among them; imports nothing.

    Args:
        backend: the experiment's.
        gpus: devices of each node; 0 and 1 are one.
        nodes: processes.
        batch_size: rows of a batch, which all devices share.

    Raises:
        OptionsError: the backend can not share among them, or a batch can not be shared equally.
    """
    devices = max(1, gpus) * nodes
    asked = f"resources.gpus is {gpus} and resources.nodes is {nodes}"
    if devices > 1 and backend != "jax" and (backend != "tensorflow" or nodes > 1):
        one_node = backend == "tensorflow"
        where, less = (
            ("the devices of one node", "nodes") if one_node else ("one device", "gpus to 1 and nodes")
        )
        raise OptionsError(
            f"{asked}, and training.backend is {backend!r}, which trains on {where}. Set training.backend: jax, "
            f"which shares each batch among all of them, or set {less} to 1."
        )
    if batch_size % devices:
        raise OptionsError(
            f"{asked}, and training.batch_size is {batch_size}, which {devices} devices can not share equally. "
            f"Set a multiple of {devices}, e.g. batch_size: {-(-batch_size // devices) * devices}."
        )


def gpus_seen() -> list[str]:
    """Return the names of this machine's GPUs that Keras' backend can use."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        try:
            return [f"gpu:{device.id}" for device in jax.local_devices(backend="gpu")]
        except RuntimeError:  # it knows no such platform
            return []
    if keras.backend.backend() == "torch":  # of which Keras' distribution knows nothing
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return list(keras.distribution.list_devices("gpu"))


def require_gpus(count: int) -> None:
    """Refuse to go on with fewer than `count` GPUs; 0 asks for nothing and imports nothing.

    Raises:
        GpuNotFoundError: what the backend saw, what the machine shows, and what to do.
    """
    if count < 1:
        return
    import keras

    seen, name = gpus_seen(), BACKEND_NAMES[keras.backend.backend()]
    if len(seen) < count:
        raise GpuNotFoundError(
            f"resources.gpus is {count} and {name} sees {len(seen)} GPUs ({', '.join(seen) or 'none'})"
            f"{_place()}. {'Set' if seen else f'{_hint()} Or set'} resources.gpus: {len(seen)}."
        )


def _place() -> str:
    """Node and image of the pod we run in; nothing elsewhere."""
    node, image = os.environ.get("TIDEGATE_NODE"), os.environ.get("TIDEGATE_IMAGE")
    return f", on node {node} in image {image}" if node and image else ""


def _hint() -> str:
    import keras

    if not Path("/proc/driver/nvidia/version").exists():
        return "No NVIDIA driver is loaded: install it, or run where `nvidia-smi` lists a GPU."
    if keras.backend.backend() == "jax":
        return "Install `jax[cuda12]` in place of `jax`, and check that `nvidia-smi` lists the GPU."
    if keras.backend.backend() == "tensorflow" and not _tensorflow_has_cuda():
        return "This TensorFlow has no CUDA: install `tensorflow[and-cuda]` in place of `tensorflow-cpu`."
    return "The driver is there: check CUDA_VISIBLE_DEVICES and that `nvidia-smi` lists the GPU."


def _tensorflow_has_cuda() -> bool:
    import tensorflow as tf

    return bool(tf.test.is_built_with_cuda())
