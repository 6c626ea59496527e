"""Where a home has its keys. Imports nothing heavy."""

from pathlib import Path

from tidegate.pipelines.state.home import Home

PRIVATE, TRUSTED = "signing.pem", "trusted"


def keys_folder(home: Home) -> Path:
    """All of them."""
    return home.path / "keys"


def trusted_folder(home: Home) -> Path:
    """The public ones that may have signed what the home serves."""
    return keys_folder(home) / TRUSTED
