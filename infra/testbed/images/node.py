"""Programs of npm packages, installed into the cache once per lock; `npm/` pins them with their digests."""

import hashlib
import secrets
import shutil
from pathlib import Path

from tidegate.infra.system.locks import lock
from tidegate.infra.testbed.host.errors import BuildError, PreconditionError
from tidegate.infra.testbed.host.shell import run

HERE = Path(__file__).parents[1] / "npm"


def program(cache: Path, package: str, name: str) -> list[str]:
    """Return the command of a package's program, which is installed if it is not in the cache.

    Args:
        cache: the testbed's.
        package: its folder under `npm/`.
        name: of the program in `node_modules/.bin`.

    Raises:
        PreconditionError: Node.js or npm is not there.
        BuildError: npm failed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise PreconditionError("no `node` and `npm` on the PATH; expected Node.js 18 or newer; install it")
    digest = hashlib.sha256((HERE / package / "package-lock.json").read_bytes()).hexdigest()[:8]
    target = cache / "npm" / f"{package}-{digest}"
    with lock(cache / "npm.lock", error=BuildError):
        if not target.is_dir():
            _install(npm, HERE / package, target)
    return [node, str(target / "node_modules" / ".bin" / name)]


def _install(npm: str, source: Path, target: Path) -> None:
    """Install into a folder of its own and rename that, so that an incomplete one is never used."""
    temporary = target.with_name(f".tmp-{target.name}-{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(source / name, temporary / name)
        words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        run(["nice", "-n", "19", npm, *words], cwd=temporary, error=BuildError)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
