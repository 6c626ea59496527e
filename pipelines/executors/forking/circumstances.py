"""What a forked process takes over from the server: a step is forked only where its own process would have the same."""

import os
import resource
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tidegate

# Variables that are read when a program starts or a library is loaded, so that a forked process would not see its own.
# XLA_FLAGS and TensorFlow's numbers of threads are read later, at the first operation.
EARLY = (
    "ARROW_", "CUDA_", "GLIBC_", "JAX_", "KERAS_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "MPLBACKEND",
    "NVIDIA_", "OMP_", "OPENBLAS_", "PYTHON", "TF_", "TIDEGATE_LIMIT",
)  # fmt: skip
LATE = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# scikit-learn gives them these values in every process that imports it.
SET_BY_LIBRARIES = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


def circumstances(environment: Mapping[str, str]) -> dict[str, Any]:
    """Code, interpreter, limits and early variables of this process, as plain values that can be compared.

    Args:
        environment: the variables that the step's process would get.
    """
    return {
        "code": code_version(),
        "python": [sys.executable, sys.version],
        "variables": {name: environment[name] for name in sorted(environment) if is_early(name)},
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in LIMITS},
        "cgroup": _text("cgroup"),
        "oom_score_adj": _text("oom_score_adj"),
        "umask": next((line for line in _text("status").splitlines() if line.startswith("Umask")), ""),
        "cpus": sorted(os.sched_getaffinity(0)),
        "nice": os.nice(0),
        "groups": sorted(os.getgroups()),
    }


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What two processes' circumstances differ in, in words; variables and limits by name."""
    found = []
    for name in mine:
        one, other = mine[name], theirs[name]
        if isinstance(one, dict):
            found += [f"{name} {key}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
        elif one != other:
            found.append(name)
    return found


def is_early(name: str) -> bool:
    """Whether a variable is read when a program starts or a library is loaded."""
    return name.startswith(EARLY) and name not in (*LATE, *SET_BY_LIBRARIES)


def _text(name: str) -> str:
    return Path("/proc/self", name).read_text()


@cache
def code_version() -> str:
    """Our source files as they were when this process first asked: a newest one, and how many there are."""
    files = [path.stat() for root in tidegate.__path__ for path in Path(root).glob("*/**/*.py")]
    newest = max(found.st_mtime_ns for found in files)
    return f"{list(tidegate.__path__)} {len(files)} files, {sum(found.st_size for found in files)} bytes, {newest}"
