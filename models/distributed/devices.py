"""Backends and their devices; a missing backend or GPU is an error before any data is read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tidegate.models.config.training import keras_backend
from tidegate.models.errors import GpuNotFoundError, OptionsError

BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch", "numpy": "NumPy"}


# Without them the order of sums on a GPU differs each time; cuBLAS' value is the workspace from its manual.
DETERMINISTIC = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

MOST_COMPILED = 1 << 30  # bytes of what JAX keeps of a home
WRITTEN_S = 60.0  # after which no living process is still writing an entry


def configure_backend(backend: str, compiled: Path | None = None) -> None:
    """Set the environment variables that Keras and its backend read at import; call it before they are imported.

    With them a training is deterministic to the bit on a GPU, too; see also `networks.determinism.make_deterministic`.

    Args:
        backend: the experiment's `training.backend`.
        compiled: where JAX keeps what it compiles, see `keep_compiled`; None: as JAX does by itself.
    """
    os.environ["KERAS_BACKEND"] = keras_backend(backend)
    for name, value in DETERMINISTIC.items():
        if value not in os.environ.get(name, ""):
            os.environ[name] = f"{os.environ.get(name, '')} {value}".strip()
    if backend == "torch":
        # Otherwise its waiting threads spin, which is three times slower on a busy machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if backend == "jax" and compiled is not None:
        keep_compiled(compiled)


def keep_compiled(folder: Path) -> None:
    """Have JAX keep what it compiles, however small, for every process to come; call it before JAX is imported.

    Compiling takes most of a short training's time. What one kind of processor has compiled is not for another that has
    the same home, and JAX's own key does not tell them apart: each kind has a folder of its own. What the user has set
    for JAX stays. The oldest programs go where all take more than `MOST_COMPILED`: JAX's own limit does not get over a
    killed process.

    Args:
        folder: of this home or machine.
    """
    processor = hashlib.sha256("\n".join(sorted(_processor())).encode()).hexdigest()
    own = folder / f"jax-{processor[:12]}"
    _tidy(own)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(own))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _tidy(folder: Path) -> None:
    """Remove what JAX would never write again, and the oldest where there is too much; others may do so meanwhile."""
    left = MOST_COMPILED
    for changed, size, entry in sorted(_entries(folder), reverse=True):
        left -= size
        torn = not size and time.time() - changed > WRITTEN_S  # of a process that was killed
        if torn or left < 0:
            entry.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, s since the epoch, its bytes, and where it is."""
    for entry in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = entry.stat()
            yield found.st_mtime, found.st_size, entry


def _processor() -> set[str]:
    """The kinds of processors here, what they can, and how many there are, to which XLA cuts its work."""
    kind = {platform.system(), platform.machine(), platform.processor(), f"{os.cpu_count()} CPUs"}
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return kind | {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}


def require_backend(backend: str) -> None:
    """Refuse a backend whose package is not installed; the package is not imported.

    Raises:
        OptionsError: says what to install.
    """
    if not _installed(backend):
        here = ", ".join(name for name in BACKEND_NAMES if _installed(name)) or "none"
        raise OptionsError(
            f"option 'training.backend' is {backend!r}; expected one whose package is installed here: {here}; "
            f"install it with `pip install 'tidegate[{_package(backend)}]'`"
        )


def _package(backend: str) -> str:
    """The package of a backend, which is the name of the extra that installs it too."""
    return "tensorflow" if backend == "numpy" else backend  # the equations are checked against Keras


def _installed(backend: str) -> bool:
    return find_spec(_package(backend)) is not None


def require_equal_shares(backend: str, gpus: int, nodes: int, batch_size: int) -> None:
    """Refuse several devices if the backend cannot divide a batch equally among them; imports nothing.

    Args:
        backend: the experiment's `training.backend`.
        gpus: devices of each node; 0 and 1 mean one.
        nodes: processes.
        batch_size: rows of a batch, which all devices share.

    Raises:
        OptionsError: the backend does not support it, or the batch size is not a multiple of the devices.
    """
    devices = max(1, gpus) * nodes
    resources = f"resources.gpus is {gpus} and resources.nodes is {nodes}"
    if devices > 1 and backend != "jax" and (backend != "tensorflow" or nodes > 1):
        one_node = backend == "tensorflow"
        where, less = (
            ("the devices of one node", "nodes") if one_node else ("one device", "gpus to 1 and nodes")
        )
        raise OptionsError(
            f"{resources}, and training.backend is {backend!r}; expected {where} with this backend; set "
            f"training.backend: jax, which shares each batch among all devices, or set {less} to 1"
        )
    if batch_size % devices:
        raise OptionsError(
            f"{resources}, and training.batch_size is {batch_size}; expected a multiple of {devices}, because the "
            f"devices share each batch equally; set for example batch_size: {-(-batch_size // devices) * devices}"
        )


def gpus_seen() -> list[str]:
    """Return the names of this machine's GPUs that Keras' backend can use."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        try:
            return [f"gpu:{device.id}" for device in jax.local_devices(backend="gpu")]
        except RuntimeError:  # JAX has no GPU platform here
            return []
    if keras.backend.backend() == "torch":  # not supported by keras.distribution
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return list(keras.distribution.list_devices("gpu"))


def require_gpus(count: int) -> None:
    """Raise if there are fewer than `count` GPUs; with 0 nothing is checked or imported.

    Raises:
        GpuNotFoundError: names the GPUs that the backend sees, and what to do.
    """
    if count < 1:
        return
    import keras

    seen, name = gpus_seen(), BACKEND_NAMES[keras.backend.backend()]
    if len(seen) < count:
        raise GpuNotFoundError(
            f"resources.gpus is {count} and {name} sees {len(seen)} GPUs ({', '.join(seen) or 'none'})"
            f"{_place()}; expected at least {count}; {'' if seen else f'{_hint()}, or '}set resources.gpus: {len(seen)}"
        )


def _place() -> str:
    """Node and image of this pod, for a message; "" outside of a pod."""
    node, image = os.environ.get("TIDEGATE_NODE"), os.environ.get("TIDEGATE_IMAGE")
    return f", on node {node} in image {image}" if node and image else ""


def _hint() -> str:
    import keras

    if not Path("/proc/driver/nvidia/version").exists():
        return "install the NVIDIA driver, which is not loaded, or run where `nvidia-smi` lists a GPU"
    if keras.backend.backend() == "jax":
        return "install `jax[cuda12]` in place of `jax`, and check that `nvidia-smi` lists the GPU"
    if keras.backend.backend() == "tensorflow" and not _tensorflow_has_cuda():
        return "install `tensorflow[and-cuda]` in place of `tensorflow-cpu`, which has no CUDA"
    return "check CUDA_VISIBLE_DEVICES and that `nvidia-smi` lists the GPU, because the driver is loaded"


def _tensorflow_has_cuda() -> bool:
    import tensorflow as tf

    return bool(tf.test.is_built_with_cuda())
