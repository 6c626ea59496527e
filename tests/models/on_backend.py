"""A Python process on another backend of Keras, which has one a process; the tests' own is TensorFlow."""

import json
from collections.abc import Mapping
from typing import Any

from tests.forked import Program


def printed_on(backend: str, *words: str, env: Mapping[str, str] | None = None) -> Any:
    """What `python WORDS...` printed, the last line of it as JSON; an AssertionError with its stderr when it failed.

    Args:
        backend: of Keras.
        words: `-m` and a module, or `-c` and code, and its own words.
        env: variables beside those of this process.
    """
    program = Program(backend, *(words[1:] if words[0] == "-m" else words), env=env)
    printed, errors = program.communicate()
    assert program.returncode == 0, errors[-3000:]
    return json.loads(printed.splitlines()[-1])
