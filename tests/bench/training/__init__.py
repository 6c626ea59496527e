"""An epoch of our training loops beside others; see `__main__`. Each backend is a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
ROUNDS = 7  # of which the first two are left out


def asked(module: str, backend: str, *words: str, **more: str) -> dict[str, Any]:
    """What a module measures in a process of its own, which prints it as JSON; `more` is for its environment."""
    argv = [sys.executable, "-m", module, *words]
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    env |= more
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{backend} {words}: {done.stderr[-2000:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row
