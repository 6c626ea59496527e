"""The native server of `native/`: built once where cargo is there, run with the ONNX Runtime of this environment."""

import os
import shutil
import subprocess
from pathlib import Path

import onnxruntime

from tests.bench.serving.servers import Server, free_port

SOURCE = Path(__file__).parent / "native"
THREADS = 2


def build() -> Path | None:
    """Compile it, return the program; None where there is no cargo, or nothing to compile it from."""
    if shutil.which("cargo") is None:
        print(
            "the native server is left out: it needs cargo (rustup.rs), which is not on the PATH", flush=True
        )
        return None
    done = subprocess.run(
        ["cargo", "build", "--release", "--locked"],
        cwd=SOURCE,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(f"the native server is left out, because cargo failed:\n{done.stderr[-2000:]}", flush=True)
        return None
    return Path(os.environ.get("CARGO_TARGET_DIR") or SOURCE / "target") / "release" / "native"


def native(program: Path, model: Path) -> Server:
    """The server of one model, whose description lies beside it."""
    port = free_port()
    argv = [str(program), str(model), str(model.with_suffix(".json")), str(port), str(THREADS)]
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return Server("native", argv, port, env={"ORT_DYLIB_PATH": str(library)})
