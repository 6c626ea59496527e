"""Binaries built from source into the cache, once per version; go.mod and go.sum in `go/` pin the sources."""

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
# Not of the cluster: tests build them when they need them.
TEST_TOOLS = (
    Tool("fake-gcs-server", "github.com/fsouza/fake-gcs-server", (".",)),
    Tool(
        "promtool",
        "github.com/prometheus/prometheus",
        ("github.com/prometheus/prometheus/cmd/promtool",),
    ),
)


def version(tool: Tool) -> str:
    """Return the version of the tool's module in go.mod; 'own' if the source is ours."""
    if tool.module is None:
        return "own"
    text = (HERE / tool.folder / "go.mod").read_text()
    found = re.search(rf"^(?:require )?\s*{re.escape(tool.module)} (v\S+)", text, re.MULTILINE)
    if not found:
        raise BuildError(f"{HERE / tool.folder / 'go.mod'} does not require {tool.module}; add it")
    return found[1]


def folder(cache: Path, tool: Tool) -> Path:
    """Return the folder of the tool's binaries; its name has the version and a digest of the pinned sources."""
    sources = sorted(p for p in (HERE / tool.folder).iterdir() if p.suffix in (".mod", ".sum", ".go"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
    return cache / "bin" / f"{tool.folder}-{version(tool)}-{platform.machine()}-{digest}"


def binary(cache: Path, name: str) -> Path:
    """Return the path of a binary by its name, such as `kubectl`."""
    for tool in (*TOOLS, *TEST_TOOLS):
        if name in _names(tool):
            return folder(cache, tool) / name
    raise BuildError(f"the binary is {name!r}, which no tool in TOOLS builds")


def missing(cache: Path) -> list[Tool]:
    """Return the tools that are not in the cache."""
    return [tool for tool in TOOLS if not folder(cache, tool).is_dir()]


def build(cache: Path, tool: Tool) -> None:
    """Build a tool's binaries and publish their folder by a rename, so that an incomplete build is never used.

    Raises:
        PreconditionError: Go is not installed.
        BuildError: the compiler failed.
    """
    go = shutil.which("go")
    if not go:
        raise PreconditionError(
            "no `go` on the PATH; expected Go 1.26 or newer to build the testbed; install it"
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
    """Return the folder that was copied next to the binary of that name."""
    return binary(cache, name).with_name("copied")


def _names(tool: Tool) -> list[str]:
    return [tool.folder if package == "." else package.rsplit("/", 1)[-1] for package in tool.packages]


def _compile(go: str, tool: Tool, package: str, output: Path) -> None:
    # -mod=readonly: the build fails if it would change go.mod or go.sum.
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", _ldflags(tool), "-o", str(output)]
    env = {**os.environ, "CGO_ENABLED": "0"}
    # The machine is shared, so a build of minutes gets the lowest priority.
    run(["nice", "-n", "19", go, "build", *flags, package], cwd=HERE / tool.folder, env=env, error=BuildError)


def _copy(go: str, tool: Tool, module: str, part: str, target: Path) -> None:
    listed = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    source = Path(run(listed, cwd=HERE / tool.folder, error=BuildError).strip()) / part
    # Go's module cache is read-only. A copy with the same modes could not be deleted.
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
