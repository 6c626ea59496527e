"""`python -m tidegate.infra.images [--registry R] [--push] [NAME...]`: build our images, and push them."""

import argparse
import shutil
import subprocess
import sys

from tidegate.infra.cluster.images import BUILD, GPU, NAMES, ROOT, TAG, image, tag

BUILDERS = ("docker", "buildah")


def main() -> int:
    """Build each image in turn, print its name; exit code 1 at the first that fails."""
    words = _parser().parse_args()
    builder = words.builder or next((name for name in BUILDERS if _works(name)), None)
    if builder is None:
        print(
            "error: no builder works here; expected docker with its daemon, or buildah; install one",
            file=sys.stderr,
        )
        return 1
    for name in words.name or NAMES:
        full = image(words.registry, name)
        for command in commands(builder, name, full, base=words.base, push=words.push):
            print(" ".join(command), file=sys.stderr)
            if subprocess.run(command, cwd=ROOT, check=False).returncode:
                print(
                    f"error: {full} could not be built or pushed; the lines above say why.", file=sys.stderr
                )
                return 1
        print(full)
    return 0


def commands(builder: str, name: str, full: str, *, base: str | None, push: bool) -> list[list[str]]:
    """Return the command lines that build, and if `push`, push an image.

    Args:
        builder: docker or buildah; both accept the same arguments.
        name: the image's short name.
        full: its full name.
        base: a base image instead of the Dockerfile's.
        push: whether to push to the registry in `full`.
    """
    arguments = {"IMAGE": name, TAG: tag()} | ({"BASE_IMAGE": base} if base else {})
    build = [builder, "build", *(["--layers"] if builder == "buildah" else [])]
    build += ["--file", f"{BUILD}/Dockerfile", "--target", "gpu" if name == GPU else "cpu", "--tag", full]
    for key, value in arguments.items():
        build += ["--build-arg", f"{key}={value}"]
    return [[*build, "."], *([[builder, "push", full]] if push else [])]


def _works(builder: str) -> bool:
    """Return whether the builder works; docker without its daemon does not."""
    return (
        bool(shutil.which(builder))
        and not subprocess.run(
            [builder, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        ).returncode
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tidegate.infra.images", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*NAMES, GPU, []], help="all but train-gpu when not given")
    parser.add_argument("--registry", default="localhost/tidegate", help="what stands before the name")
    parser.add_argument("--push", action="store_true", help="to the registry")
    parser.add_argument("--base", help="a base image with Python 3.11, instead of the public one")
    parser.add_argument("--builder", choices=BUILDERS, help="docker if it is there, else buildah")
    return parser


if __name__ == "__main__":
    sys.exit(main())
