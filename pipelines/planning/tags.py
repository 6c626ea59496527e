"""What MLflow shows of who submitted a run, and from where; no part of its identity."""

import contextlib
import getpass
import subprocess
from dataclasses import replace

from tidegate.pipelines.planning.identity import Facts


def with_tags(facts: Facts) -> Facts:
    """The facts with the user and the git commit, under MLflow's own tag names."""
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "tidegate"}
    with contextlib.suppress(OSError, KeyError):
        tags["mlflow.user"] = getpass.getuser()
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        # MLflow hides its own tags among the tags, and shows this one as a part of the source.
        tags["mlflow.source.git.commit"] = tags["git.commit"] = git.stdout.strip()
    return replace(facts, tags=tags)
