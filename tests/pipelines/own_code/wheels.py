"""Small wheels, made here: an index that needs no network."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

HERE = ["--no-index", "--find-links ./wheels"]


def make_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> None:
    """A wheel whose module has VERSION."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", "\n".join([*metadata, ""]))
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def project_with_wheels(folder: Path, *lines: str) -> Path:
    """A project's requirements.txt with these lines, beside a folder of wheels."""
    make_wheel(folder / "wheels", "tinyone", "1.2.0", ["tinytwo>=1"])
    make_wheel(folder / "wheels", "tinytwo", "1.5.0")
    make_wheel(folder / "wheels", "wantsold", "1.0", ["orjson<2"])
    make_wheel(folder / "wheels", "orjson", "1.9.0")
    (folder / "wheels" / "onlysource-1.0.tar.gz").write_bytes(b"")
    path = folder / "requirements.txt"
    path.write_text("\n".join([*HERE, *lines, ""]))
    return path
