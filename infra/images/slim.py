"""Removes files from a virtual environment that our containers never read. Runs in the image build, on Python alone."""

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

# Tests that packages install beside themselves. `test` stays: TensorFlow has an API of that name.
TESTS = "tests"
# Files for compilers, which the images do not have.
SUFFIXES = (".a", ".h", ".hpp", ".pyx", ".pxd", ".pyi")
# Tools that convert models, a second copy of the library for programs that are not Python, builders of extensions, and
# the colours for the source of 600 languages but Python, which tracebacks of BentoML have: 47 MB.
UNUSED = (
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "numpy/distutils",
    "pygments/lexers/*",
)
KEPT = {f"pygments/lexers/{name}.py" for name in ("__init__", "_mapping", "python", "special")}


def slim(packages: Path) -> None:
    """Delete unneeded files, then compile the rest to bytecode that Python uses without checking the source."""
    kept = {packages / name for name in KEPT}
    unused = [path for pattern in UNUSED for path in packages.glob(pattern) if path not in kept]
    headers = [path for path in packages.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    for path in (*packages.rglob(TESTS), *unused, *headers):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # By hash, not by date, so that the same packages always give the same bytes.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(packages, quiet=2, workers=0, invalidation_mode=mode)


if __name__ == "__main__":
    for found in Path(sys.argv[1]).glob("lib/python3*/site-packages"):
        slim(found)
