"""Checks of untrusted model files: refuses, unloaded, one that could run code, read other files or use up the memory.

Nothing here imports Keras, TensorFlow or ONNX Runtime, so a file is checked before any of them reads a byte of it. A
checker is a module with `check(model, code)`; it allows what our own exports contain and refuses the rest.
"""

import stat
from importlib import import_module
from pathlib import Path

from tidegate.serving.errors import UntrustedModelError

CHECKERS = {
    "onnx": "tidegate.serving.untrusted.onnx_file",
    "tensorflow": "tidegate.serving.untrusted.keras_file",
}
KNOWN = (
    (b"\x89HDF", "an HDF5 file, which may hold pickled code"),
    (b"\x80", "a Python pickle, which runs code when it is loaded"),
    (b"PK\x03\x04", "a zip archive"),
    (b"ORTM", "an ONNX Runtime model (.ort)"),
)


def check_model(runtime: str, model: Path, code: Path | None = None) -> None:
    """Refuse a model file that its runtime must not load.

    Args:
        runtime: which runtime would load it, a key of CHECKERS.
        model: the model file.
        code: the experiment's own model file, whose classes the model may name; None allows none.

    Raises:
        UntrustedModelError: with what was found, what was expected and the fix.
    """
    if not stat.S_ISREG(model.lstat().st_mode):
        raise refusal(model, "it is a link or not a file", "a plain file")
    import_module(CHECKERS[runtime]).check(model, code)


def refusal(model: Path, found: str, expected: str) -> UntrustedModelError:
    """The error for what was found in a model file."""
    return UntrustedModelError(
        f"{model.name} is refused: {found}; expected {expected}; submit the experiment again, and do not load "
        "this file elsewhere"
    )


def looks_like(head: bytes) -> str:
    """Describe a file by its first bytes."""
    return next((name for magic, name in KNOWN if head.startswith(magic)), f"beginning with {head[:8]!r}")
