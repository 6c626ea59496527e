"""What a forked process takes over from the server: a step is forked only where its own process would have the same."""

import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from tidegate.infra.mlflow.tracking import CLIENT
from tidegate.pipelines.executors.forking.code_version import configured, digest, first_seen

# Variables that are read when a program starts or a library is imported, so that a forked process would not see its
# own. XLA_FLAGS and TensorFlow's numbers of threads are read later, at the first operation.
EARLY = (
    "ABSL_", "ACC_", "ARROW_", "AWS_CA_BUNDLE", "AZURE_LOG_LEVEL", "CHECK_VMA", "CUDA_", "CURL_CA_BUNDLE",
    "DISABLE_HOST_SEND_RECV", "DO_NOT_TRACK", "EAGER_CONSTANT_FOLDING", "ENABLE_RUNTIME_UPTIME", "FREETYPE_", "GCS_",
    "GFORTRAN_", "GLIBC_", "GOMP_", "GOTO_", "GRPC_", "HDF5_", "HOME", "JAX", "JE_ARROW_", "JOBLIB_", "KERAS_", "KMP_",
    "LANG", "LC_", "LD_", "LLVM_", "LOCALTIME", "LOKY_", "MALLOC_", "MATPLOTLIBRC", "MKL_", "MLFLOW_", "MPITRAMPOLINE_",
    "MPL", "NPY_", "NUMPY_", "NVIDIA_", "NVPL_", "OMP_", "OPENBLAS_", "OPENSSL_", "OTEL_", "PANDAS_", "PILLOW_",
    "PROTOCOL_BUFFERS_", "PSUTIL_", "PYDANTIC_", "PYPARSING", "PYTHON", "PY_SAX_PARSER", "REQUESTS_CA_BUNDLE", "SCIPY_",
    "SKLEARN_", "SOURCE_DATE_EPOCH", "SQLITE_", "SSL", "TEMP", "TF_", "TIDEGATE_LIMIT", "TMP", "TPU_", "TRAITLETS_",
    "TZ", "WRAPT_", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "_MLFLOW_",
)  # fmt: skip
LATE = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
# A process that has imported these libraries passes on what they set, as a notebook does: scikit-learn, h5py, JAX or
# TensorFlow, MLflow, and we ourselves, who set Keras' backend in each process before Keras is imported.
SET_BY_LIBRARIES = (
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "HDF5_PLUGIN_PATH",
    "ENABLE_RUNTIME_UPTIME_TELEMETRY",
    "TPU_ML_PLATFORM",
    "TPU_ML_PLATFORM_VERSION",
    "TPU_SKIP_MDS_QUERY",
    "_MLFLOW_TELEMETRY_SESSION_ID",
    "KERAS_BACKEND",
)
LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
# Lines of /proc/self/status: what this process may do, and what its files are created with.
RIGHTS = ("CapBnd", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp:", "Umask")


def circumstances(environment: Mapping[str, str]) -> dict[str, str]:
    """Code, interpreter, rights, limits and early variables of this process, by name; the values are digests.

    Args:
        environment: the variables that the step's process would get.
    """
    found: dict[str, object] = {
        **first_seen(),
        "python": [sys.executable, sys.version],
        "settings of Keras or Matplotlib": configured(environment),
        "cgroup": _text("cgroup"),
        "oom_score_adj": _text("oom_score_adj"),
        "rights": [line for line in _text("status").splitlines() if line.startswith(RIGHTS)],
        "namespaces": _namespaces(),
        "root folder": str(Path("/proc/self/root").readlink()),
        "cpus": sorted(os.sched_getaffinity(0)),
        "nice": os.nice(0),
        "groups": sorted(os.getgroups()),
        **{f"limits {name}": resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        # Of MLflow's client, only what is not set for it anyway, by whoever imports it first.
        **{f"variables {key}": environment[key] for key in environment if is_early(key)}
        | {f"variables {key}": None for key in CLIENT if environment.get(key, CLIENT[key]) == CLIENT[key]},
    }
    return {name: digest(value) for name, value in found.items()}


def differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """The names of what two processes' circumstances differ in."""
    return [name for name in dict.fromkeys([*mine, *theirs]) if mine.get(name) != theirs.get(name)]


def is_early(name: str) -> bool:
    """Whether a variable is read when a program starts or a library is imported."""
    return name.startswith(EARLY) and name not in (*LATE, *SET_BY_LIBRARIES)


def _text(name: str) -> str:
    return Path("/proc/self", name).read_text()


def _namespaces() -> list[str]:
    """What this process sees of mounts, networks, users and the like."""
    found = sorted(Path("/proc/self/ns").iterdir())
    return [str(path.readlink()) for path in found if "_for_children" not in path.name]
