"""Targets: `local`, and those of targets.yaml."""

import os
from pathlib import Path

import yaml

from pipelines.errors import UnknownNameError, UsageError
from pipelines.home import Home


def targets_file(home: Home) -> Path:
    """Where named targets stand: $TIDEGATE_TARGETS, else targets.yaml in the home."""
    return Path(os.environ.get("TIDEGATE_TARGETS") or home.path / "targets.yaml")


def require_target(home: Home, name: str) -> None:
    """Make sure that work can run there.

    Raises:
        UnknownNameError: no such target.
        UsageError: it is a cluster, which this version does not drive.
    """
    if name == "local":
        return
    path = targets_file(home)
    known = yaml.safe_load(path.read_text()) if path.is_file() else {}
    names = ["local", *(known or {})]
    if name not in names:
        raise UnknownNameError("target", name, names, f"add it to {path}, or use --target local")
    raise UsageError(f'target "{name}" is a cluster; this version runs on --target local only')
