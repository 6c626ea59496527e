"""Where a home has its keys. Imports nothing heavy."""

from pathlib import Path

from tidegate.infra.cluster.pods.signing import TRUSTED_FOLDER
from tidegate.pipelines.state.home import Home

PRIVATE, TRUSTED = "signing.pem", "trusted"


def keys_folder(home: Home) -> Path:
    """All of them."""
    return home.path / "keys"


def trusted_folder(home: Home) -> Path:
    """The public ones that may have signed what the home serves; of a cluster a copy, and in its pods the ConfigMap."""
    if home.target is not None and Path(TRUSTED_FOLDER).is_dir():
        return Path(TRUSTED_FOLDER)
    return keys_folder(home) / TRUSTED
