"""Run a program as the train step would: `python -m tests.on_keras MODULE WORDS...`, Keras imported quickly before.

`-c CODE WORDS...` runs code instead. Processes for it are forked where Keras is imported already, see `tests.forked`.
"""

import runpy
import sys
from collections.abc import Sequence

from tidegate.models.networks.keras_import import import_keras


def main(words: Sequence[str]) -> int:
    """Run the program; the exit code of one that ends without an error.

    Args:
        words: the module, or `-c` and the code, and its own words.
    """
    import_keras()
    code = words[1] if words[0] == "-c" else None
    sys.argv = [words[0], *words[1 if code is None else 2 :]]
    try:
        if code is None:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        assert sys.__stdout__ is not None
        sys.__stdout__.flush()  # a program may have put another one into its place
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
