"""Binaries built from source into the cache, once a version; go.mod and go.sum in `go/` pin what they are."""

import hashlib
import os
import platform
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tidegate.infra.system.locks import lock
from tidegate.infra.testbed.host.errors import BuildError, PreconditionError
from tidegate.infra.testbed.host.shell import run

HERE = Path(__file__).parents[1] / "go"
KUBERNETES = "k8s.io/kubernetes"


@dataclass(frozen=True)
class Tool:
    """A folder under `go/`, the module whose version names the build, the packages to build, a folder to copy."""

    folder: str
    module: str | None
    packages: tuple[str, ...]
    copied: tuple[str, str] | None = None  # a module it requires, and a folder of that module


TOOLS = (
    Tool("pause", None, (".",)),
    Tool(
        "k8s",
        KUBERNETES,
        tuple(
            f"{KUBERNETES}/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        ),
    ),
    Tool("versitygw", "github.com/versity/versitygw", ("github.com/versity/versitygw/cmd/versitygw",)),
    Tool("coredns", "github.com/coredns/coredns", ("github.com/coredns/coredns",)),
    Tool(
        "traefik",
        "github.com/traefik/traefik/v3",
        ("github.com/traefik/traefik/v3/cmd/traefik",),
        copied=("sigs.k8s.io/gateway-api", "config/crd/standard"),
    ),
    Tool(
        "metrics-server",
        "sigs.k8s.io/metrics-server",
        ("sigs.k8s.io/metrics-server/cmd/metrics-server",),
    ),
    Tool(
        "kwok",
        "sigs.k8s.io/kwok",
        ("sigs.k8s.io/kwok/cmd/kwok",),
        copied=("sigs.k8s.io/kwok", "kustomize/stage"),
    ),
    Tool("k6", "go.k6.io/k6", ("go.k6.io/k6",)),
)


def version(tool: Tool) -> str:
    """Return the version that go.mod requires of the tool's module ('own' where the source is ours)."""
    if tool.module is None:
        return "own"
    text = (HERE / tool.folder / "go.mod").read_text()
    found = re.search(rf"^(?:require )?\s*{re.escape(tool.module)} (v\S+)", text, re.MULTILINE)
    if not found:
        raise BuildError(f"{HERE / tool.folder / 'go.mod'} does not require {tool.module}.")
    return found[1]


def folder(cache: Path, tool: Tool) -> Path:
    """Return where the tool's binaries lie: its version, and a digest of all that pins or is its source."""
    sources = sorted(p for p in (HERE / tool.folder).iterdir() if p.suffix in (".mod", ".sum", ".go"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
    return cache / "bin" / f"{tool.folder}-{version(tool)}-{platform.machine()}-{digest}"


def binary(cache: Path, name: str) -> Path:
    """Return the path of a binary by its name, such as `kubectl`."""
    for tool in TOOLS:
        if name in _names(tool):
            return folder(cache, tool) / name
    raise BuildError(f"no tool builds {name!r}.")


def missing(cache: Path) -> list[Tool]:
    """Return the tools that are not in the cache."""
    return [tool for tool in TOOLS if not folder(cache, tool).is_dir()]


def build(cache: Path, tool: Tool) -> None:
    """Build a tool's binaries and publish their folder by a rename, so that half a build is never used.

    Raises:
        PreconditionError: there is no Go.
        BuildError: the compiler failed.
    """
    go = shutil.which("go")
    if not go:
        raise PreconditionError(
            "Building the testbed needs Go 1.26 or newer: install it, or put `go` on the PATH."
        )
    target = folder(cache, tool)
    with lock(cache / "build.lock", error=BuildError):
        if target.is_dir():
            return
        temporary = target.with_name(f".tmp-{tool.folder}-{secrets.token_hex(4)}")
        temporary.mkdir(parents=True)
        try:
            for package, name in zip(tool.packages, _names(tool), strict=True):
                _compile(go, tool, package, temporary / name)
            if tool.copied:
                _copy(go, tool, *tool.copied, temporary / "copied")
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def copied(cache: Path, name: str) -> Path:
    """Return the folder that was copied beside the binary of that name."""
    return binary(cache, name).with_name("copied")


def _names(tool: Tool) -> list[str]:
    return [tool.folder if package == "." else package.rsplit("/", 1)[-1] for package in tool.packages]


def _compile(go: str, tool: Tool, package: str, output: Path) -> None:
    # -mod=readonly: go.mod and go.sum are what is committed, or the build fails.
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", _ldflags(tool), "-o", str(output)]
    env = {**os.environ, "CGO_ENABLED": "0"}
    # The machine is shared: a build of minutes gives way to everything else.
    run(["nice", "-n", "19", go, "build", *flags, package], cwd=HERE / tool.folder, env=env, error=BuildError)


def _copy(go: str, tool: Tool, module: str, part: str, target: Path) -> None:
    listed = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    source = Path(run(listed, cwd=HERE / tool.folder, error=BuildError).strip()) / part
    # Go keeps its modules read-only, and so would be the copy: its folders could not be deleted.
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    target.chmod(0o755)


def _ldflags(tool: Tool) -> str:
    if tool.module != KUBERNETES:
        return "-s -w"
    number = version(tool)
    major, minor = number.removeprefix("v").split(".")[:2]
    stamp = {"gitVersion": number, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(
        f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items()
    )
