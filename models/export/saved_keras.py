"""A trained model, read from its `.keras` file."""

from pathlib import Path
from typing import Any

from tidegate.models.networks.keras_import import import_keras


def load_saved(saved: Path, code: Path | None) -> Any:
    """The Keras model of a file that this pipeline wrote, to be asked, not trained.

    Args:
        saved: the `.keras` file.
        code: the user's model file, or the `code.json` of the project that defines layers of the model; None: neither.
    """
    import_keras(own_code=code is not None)
    import keras

    from tidegate.models.user_code.model_source import custom_objects

    own = custom_objects(code) if code else {}
    return keras.models.load_model(saved, custom_objects=own, compile=False)
