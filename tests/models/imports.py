"""What a piece of code imports, seen in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence


def imported_by(code: str, modules: Sequence[str]) -> list[str]:
    """Those of the modules that are there after the code has run."""
    look = f"{code}\nimport sys\nprint(*[name for name in {list(modules)} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    return done.stdout.split()
