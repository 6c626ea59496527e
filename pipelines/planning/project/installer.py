"""uv or pip, whichever is here, asked what a project's requirements would install beside what is installed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.project.parts import Pin

TIMEOUT_S = 600.0
WHEELS = ("--only-binary", ":all:")
PLANNED = re.compile(r"^ ([-+~]) (\S+?)==(\S+)", re.MULTILINE)
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)\s*\\?$|--hash=(\S+?)\s*\\?$", re.MULTILINE)


def planned(requirements: Path, options: Sequence[str]) -> list[Pin]:
    """What installing a requirements file into this environment would add, or put in place of what is there.

    Args:
        requirements: the file.
        options: its lines that say where packages come from, such as --index-url.

    Raises:
        ExperimentError: a requirement cannot be met, has no wheel, or neither uv nor pip is here.
    """
    if uv := shutil.which("uv"):
        argv = [
            uv,
            "pip",
            "install",
            "--dry-run",
            "--python",
            sys.executable,
            *WHEELS,
            *_for_uv(options),
            "-r",
            str(requirements),
        ]
        found = PLANNED.findall(_run(argv, requirements.parent).stderr)
        new = [Pin(name, version) for sign, name, version in found if sign != "-"]
        return _with_hashes(uv, new, requirements.parent, options) if new else []
    argv = [*_pip(), "install", "--quiet", "--dry-run", "--report", "-", *WHEELS, "-r", str(requirements)]
    report = json.loads(_run(argv, requirements.parent).stdout)
    return [_reported(entry) for entry in report["install"]]


def install(pins: Sequence[Pin], options: Sequence[str], folder: Path) -> None:
    """Install wheels of these digests, and nothing else, into a folder that may be put on the import path.

    Raises:
        ExperimentError: one of them cannot be had any more, or is another file.
    """
    lines = [f"{pin.name}=={pin.version} {' '.join(f'--hash={one}' for one in pin.hashes)}" for pin in pins]
    lock = folder.with_suffix(".txt")
    lock.write_text("\n".join([*options, *lines, ""]), "utf-8")
    how = ["--no-deps", "--require-hashes", *WHEELS, "--target", str(folder), "-r", str(lock)]
    uv = shutil.which("uv")
    tool = (
        [uv, "pip", "install", "--quiet", "--python", sys.executable, *_for_uv(options)]
        if uv
        else [*_pip(), "install", "--quiet"]
    )
    try:
        _run([*tool, *how], folder.parent)
    finally:
        lock.unlink()


def _for_uv(options: Sequence[str]) -> list[str]:
    """What uv takes as arguments only; in a file it warns of them and goes on."""
    hosts = [line.split(None, 1)[1] for line in options if line.startswith("--trusted-host")]
    pre = ["--prerelease", "allow"] if "--pre" in options else []
    return [*pre, *(word for host in hosts for word in ("--allow-insecure-host", host))]


def _with_hashes(uv: str, pins: Sequence[Pin], folder: Path, options: Sequence[str]) -> list[Pin]:
    lock = folder / "pins.txt"
    lock.write_text("\n".join([*options, *(f"{pin.name}=={pin.version}" for pin in pins), ""]), "utf-8")
    argv = [uv, "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
    text = _run([*argv, "--python", sys.executable, *WHEELS, *_for_uv(options), str(lock)], folder).stdout
    found: list[Pin] = []
    for name, version, digest in PINNED.findall(text):
        last = found[-1] if found and not name else Pin(name, version)
        found = [
            *(found[:-1] if not name else found),
            Pin(last.name, last.version, (*last.hashes, *filter(None, [digest]))),
        ]
    return [pin if pin.hashes else _found_locally(pin, options) for pin in found]


def _found_locally(pin: Pin, options: Sequence[str]) -> Pin:
    """The digests of wheels in folders that --find-links names; uv does not tell them."""
    folders = [Path(line.split(None, 1)[1]) for line in options if line.startswith("--find-links")]
    start = f"{re.sub(r'[-_.]+', '_', pin.name)}-{pin.version}-".lower()
    wheels = [path for folder in folders if folder.is_dir() for path in folder.glob("*.whl")]
    known = [path.read_bytes() for path in wheels if path.name.lower().startswith(start)]
    import hashlib

    return Pin(pin.name, pin.version, tuple(f"sha256:{hashlib.sha256(one).hexdigest()}" for one in known))


def _reported(entry: dict[str, dict[str, object]]) -> Pin:
    metadata, archive = entry["metadata"], entry["download_info"].get("archive_info") or {}
    hashes = archive.get("hashes") or {} if isinstance(archive, dict) else {}
    return Pin(
        str(metadata["name"]),
        str(metadata["version"]),
        tuple(f"{kind}:{one}" for kind, one in hashes.items()),
    )


def _pip() -> list[str]:
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    if other := shutil.which("pip"):
        return [other, "--python", sys.executable]
    raise ExperimentError(
        "code.requirements: neither uv nor pip is here, by which they would be pinned and installed; expected one of "
        "them; pip install uv"
    )


def _run(argv: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ExperimentError(
            f"code.requirements: they were not resolved within {TIMEOUT_S:g} s; expected an answer of the package "
            "index; check the network, or name an index that answers by --index-url in the file"
        ) from error
    if done.returncode:
        raise ExperimentError(f"code.requirements: {_why(done.stderr)}")
    return done


def _why(text: str) -> str:
    """What uv or pip says, in one line without its markers; that a wheel is needed is said in our words."""
    lines = [re.sub(r"^(error|ERROR|cause|hint):\s*", "", line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("Using ")]
    cause = " ".join(dict.fromkeys(lines))[:600] or "uv or pip failed without a message"
    return (
        f"they cannot be installed: {cause}; expected packages with wheels for Python "
        f"{sys.version_info[0]}.{sys.version_info[1]} on this machine that fit together; correct the file"
    )
