"""Files of a project that would hide a module which the libraries of a step import: `random.py`, `keras/__init__.py`.

A project's folders come first on the import path, as when its scripts are run.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

# What the steps themselves import; of other installed packages the project may have a module of the same name.
NEEDED = {
    *(
        "numpy",
        "pandas",
        "scipy",
        "sklearn",
        "pyarrow",
        "PIL",
        "matplotlib",
        "h5py",
        "pydantic",
        "yaml",
        "psutil",
    ),
    *("keras", "tensorflow", "jax", "jaxlib", "torch", "tf2onnx", "onnx", "onnxruntime", "optuna", "mlflow"),
    *(
        "bentoml",
        "starlette",
        "uvicorn",
        "orjson",
        "httptools",
        "boto3",
        "botocore",
        "google",
        "grpc",
        "tidegate",
    ),
}


def shadowing(files: Collection[str], roots: Collection[str]) -> dict[str, str]:
    """Files that are modules or packages at a root and are called like one that is needed, with that name."""
    needed = NEEDED | sys.stdlib_module_names
    found = {}
    for file in files:
        for root in roots:
            name = _module_at(PurePosixPath(file), PurePosixPath(root))
            if name in needed:
                found[file] = name
    return found


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """What is said of files and folders that are left out, with the modules that they would hide."""
    return [
        f"{file} of the project is left out of the run's copy: it would hide the module {module} from the libraries "
        "that import it; rename it if your code needs it"
        for file, module in left_out.items()
    ]


def of_packages(file: str, files: Collection[str]) -> Iterator[str]:
    """The file itself and, of a package, what lies in it."""
    path = PurePosixPath(file)
    inside = f"{path.parent}/" if path.name == "__init__.py" else file
    yield from (name for name in files if name == file or (inside != file and name.startswith(inside)))


def _module_at(file: PurePosixPath, root: PurePosixPath) -> str:
    if file.suffix == ".py" and file.parent == root:
        return file.stem if file.name != "__init__.py" else ""
    return file.parent.name if file.name == "__init__.py" and file.parent.parent == root else ""
