"""A Python process on another backend of Keras, which has one a process; the tests' own is TensorFlow."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def printed_on(backend: str, *words: str, env: Mapping[str, str] | None = None) -> Any:
    """What `python WORDS...` printed, the last line of it as JSON; an AssertionError with its stderr when it failed."""
    module = ("-m", "tests.on_keras") if words[0] == "-m" else words[:1]
    done = subprocess.run(
        [sys.executable, *module, *words[1:]],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": backend, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
