"""Whether a user's model could be loaded again once it is trained: found out on the untrained one."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.errors import UserModelError, one_line
from tidegate.models.keras_private import all_layers
from tidegate.models.networks.predict import predict
from tidegate.models.networks.user_models.own_training import uncompiled
from tidegate.models.user_code.model_source import custom_objects
from tidegate.models.user_code.own_classes import is_by_arguments

TOLERANCE = 1e-4  # of answers, relative to the largest: the same network gives the same to rounding


def require_storable(model: Any, rows: Mapping[str, np.ndarray], path: Path) -> None:
    """Save the untrained model, load it again, and compare weights and answers.

    Args:
        model: as `build_model` returned it.
        rows: model inputs by name; a few rows are enough.
        path: the user's model file, which defines what Keras does not know.

    Raises:
        UserModelError: it cannot be saved or loaded, or comes back as another model; names the class.
    """
    import keras

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is compared below
        saved = Path(folder) / "model.keras"
        try:
            with uncompiled(model):
                model.save(saved, include_optimizer=False)
            again = keras.models.load_model(saved, custom_objects=custom_objects(path), compile=False)
            answers = predict(again, rows)
        except Exception as error:
            raise UserModelError(_why(model, path, error)) from error
    expected = predict(model, rows)
    if not _same(model.get_weights(), again.get_weights(), exact=True):
        raise _changed(path, "other weights")
    if not _same([expected], [answers], exact=False):
        raise _changed(path, f"other answers, up to {np.abs(answers - expected).max():.3g} away")


def _same(ones: list[np.ndarray], others: list[np.ndarray], exact: bool) -> bool:
    if [one.shape for one in ones] != [other.shape for other in others]:
        return False
    largest = max((float(np.abs(one).max()) for one in ones if one.size), default=0.0)
    atol = 0.0 if exact else TOLERANCE * largest
    return all(
        np.allclose(one, other, rtol=0, atol=atol, equal_nan=True)
        for one, other in zip(ones, others, strict=True)
    )


def _changed(path: Path, what: str) -> UserModelError:
    return UserModelError(
        f"{path}: the untrained model, saved and loaded again, has {what}; expected the same model, because that file "
        "is what is exported and served; let get_config() return every argument of __init__, create all weights in "
        "__init__ or build(), and keep no numbers outside of weights"
    )


def _why(model: Any, path: Path, error: Exception) -> str:
    """The class that cannot be stored, where it is one of the user's without a `get_config`."""
    for layer in all_layers(model):
        kind = type(layer)
        if kind.__module__.startswith("keras.") or ("get_config" in vars(kind) and not is_by_arguments(kind)):
            continue
        try:
            kind.from_config(layer.get_config())
        except Exception:
            arguments = list(inspect.signature(kind.__init__).parameters)[1:]
            own = [name for name in arguments if name not in ("args", "kwargs")]
            pairs = "".join(f', "{name}": self.{name}' for name in own)
            line = inspect.unwrap(kind.__init__).__code__.co_firstlineno if "__init__" in vars(kind) else 1
            return (
                f"{path}:{line}: class {kind.__name__} has no get_config(), so that the trained model could not be "
                "loaded again; expected one that returns the arguments of __init__; let __init__ take **kwargs and "
                f"give them to super().__init__(**kwargs), and add: def get_config(self): return "
                f"{{**super().get_config(){pairs}}}"
            )
    cause = one_line(error)[:500]
    return (
        f"{path}: the untrained model cannot be saved and loaded again: {type(error).__name__}: {cause}; expected a "
        "model whose classes have get_config(), because the trained one is stored as a file"
    )
