"""A script that builds a bento of a folder. It imports nothing of ours: the folder has its own copy.

The installed `tidegate` would hide a file that the bento lacks. It imports BentoML, which takes half of its time, and
then reads what to build: one line of JSON on standard input. Without one it does nothing.
"""

import json
import os
import sys
from pathlib import Path

import bentoml


def main() -> int:
    """Have BentoML build the folder that is asked for."""
    build = bentoml.build  # imports what is built with
    line = sys.stdin.readline()
    if not line:
        return 0
    asked = json.loads(line)
    os.environ.update(asked["variables"])
    os.chdir(asked["folder"])
    build(
        asked["service"],
        name=asked["name"],
        version=asked["version"],
        labels=asked["labels"],
        description=f"# {asked['name']}\n\nA Tidegate endpoint; `GET /contract` says what `POST /predict` takes.",
        include=["tidegate/", "bundle/", "environments/"],
        python={"packages": asked["packages"], "lock_packages": False},
        build_ctx=str(Path.cwd()),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
