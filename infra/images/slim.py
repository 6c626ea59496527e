"""Runs while an image is built, on Python alone: takes from a virtual environment what no container of ours reads."""

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

# Tests that packages install beside themselves. `test` stays: TensorFlow has an API of that name.
TESTS = "tests"
# For compilers: there is none.
SUFFIXES = (".a", ".h", ".hpp", ".pyx", ".pxd", ".pyi")
# Tools to convert models, and a second copy of the library, for programs that are not Python: 38 MB.
UNUSED = (
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
)


def slim(packages: Path) -> None:
    """Delete what is not needed, then compile the rest to bytecode that is used without a look at its source."""
    unused = [path for pattern in UNUSED for path in packages.glob(pattern)]
    headers = [path for path in packages.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    for path in (*packages.rglob(TESTS), *unused, *headers):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # By hash, not by date: the same packages are the same bytes whenever they are installed.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(packages, quiet=2, workers=0, invalidation_mode=mode)


if __name__ == "__main__":
    for found in Path(sys.argv[1]).glob("lib/python3*/site-packages"):
        slim(found)
