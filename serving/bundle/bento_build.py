"""A script that builds a bento of the current folder. It imports nothing of ours: the folder has its own copy.

The installed `tidegate` would hide a file that the bento lacks.
"""

import argparse
import json
import sys
from pathlib import Path

import bentoml


def main() -> int:
    """Have BentoML build the current folder."""
    parser = argparse.ArgumentParser(description="Build the bento of the current folder.")
    for option in ("--service", "--name", "--version", "--labels"):
        parser.add_argument(option, required=True)
    parser.add_argument("--packages", nargs="+", required=True)
    args = parser.parse_args()
    bentoml.build(
        args.service,
        name=args.name,
        version=args.version,
        labels=json.loads(args.labels),
        description=f"# {args.name}\n\nA Tidegate endpoint; `GET /contract` says what `POST /predict` takes.",
        include=["tidegate/", "bundle/", "environments/"],
        python={"packages": args.packages, "lock_packages": False},
        build_ctx=str(Path.cwd()),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
