"""Import Keras without what it imports for plots, scikit-learn wrappers and converters: 2 s of CPU time, not 3.4."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# Keras and TensorFlow import these when they are installed: for plots, wrappers, converters, and rows in data frames,
# which only code of a user's gives to `fit`. What layers and losses may use, such as SciPy, is not here.
UNUSED = ("matplotlib", "pandas", "sklearn")
UNUSED_BY_TENSORFLOW = ("jax",)


def import_keras(own_code: bool = False) -> None:
    """Import Keras on the backend that $KERAS_BACKEND names.

    What is hidden meanwhile can be imported as usual afterwards. A second call is free.

    Args:
        own_code: whether a user's model file is to run: it gets all of Keras, with its wrappers and plots.
    """
    on_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    unused = (*UNUSED, *(UNUSED_BY_TENSORFLOW if on_tensorflow else ()))
    with _hidden(*(() if own_code else unused)), _without_collector():
        import_module("keras")


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Packages that are not imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))  # None: an import raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause garbage collection, and never look through Keras for garbage afterwards: nothing of it is."""
    if "keras" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
