"""Deletes old recorded rows where no server does: of a release that records no more, or that does not run."""

import time

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import translate_os_errors
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.removed import Removed
from tidegate.serving.recording.segments import expire, kept_for, locked


def expire_recordings(home: Home) -> Removed:
    """Delete the rows of all endpoints that are older than the release said that began to record last.

    Raises:
        InfraError: a folder cannot be written.
    """
    removed = Removed()
    for folder in sorted(path for path in (home.path / "recordings").glob("*") if path.is_dir()):
        keep = kept_for(folder)
        if keep is None:
            continue
        with translate_os_errors(InfraError, folder, "Writing"):
            try:
                with locked(folder):
                    sizes = expire(folder, keep, time.time())
            except FileNotFoundError:  # the endpoint is being deleted
                continue
        if sizes:
            removed.add(f"old recorded rows of {folder.name}", sum(sizes))
    return removed
