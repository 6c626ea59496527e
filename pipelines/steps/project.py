"""The user's project in the process of a step: laid out from the snapshot, and on the import path."""

import os
import shutil
from pathlib import Path

from tidegate.infra.store import Ref
from tidegate.models.user_code.code_folder import FILES, CodeFolder, use_code, write_code
from tidegate.pipelines.planning.project.environment import environment_folder
from tidegate.pipelines.planning.project.snapshot import lay_out_snapshot
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.code import CodedInputs, CodeInputs


def enter_project(inputs: StepPart, home: Home, work: Path) -> None:
    """Lay the project of a step's inputs out in its folder, and let its modules be imported; nothing without one.

    Raises:
        StoreError: the snapshot is gone or damaged.
        UserCodeError: a secret is missing.
    """
    code = inputs.code if isinstance(inputs, CodedInputs) else None
    if code is None:
        return
    lay_out_snapshot(home.store, code.snapshot, work / FILES)
    os.environ.setdefault("MPLBACKEND", "Agg")  # a figure that the code shows opens no window
    os.environ["TIDEGATE_HOME"] = str(home.path)
    lay_out_packages(home, code.packages, code.environment)
    use_code(write_code(work, _folder(code)))


def lay_out_packages(home: Home, packages: Ref | None, digest: str) -> None:
    """In a pod, write packages to where `use_code` looks for them; elsewhere they are there."""
    if packages is not None and not environment_folder(home, digest).is_dir():
        lay_out_snapshot(home.store, packages, environment_folder(home, digest))


def model_file(code: CodeInputs | None, work: Path, stated: str | None) -> str | None:
    """Where the model file lies in the step's folder; None where the experiment names none."""
    return str(work / FILES / code.model) if code and stated else stated


def code_reached(code: CodeInputs, work: Path, folder: Path, model: bool) -> Path | None:
    """The part of the project that an endpoint needs, as a code folder; None if it needs nothing of it.

    Args:
        code: of the step, whose project is laid out in `work`.
        work: the step's folder.
        folder: where the part goes; it must not exist.
        model: whether the endpoint loads the model with the user's classes.
    """
    files = sorted({*code.served, *(code.trained if model else ())})
    if not files:
        return None
    for name in files:
        target = folder / FILES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / FILES / name, target)
    part = _folder(code)
    served = {"environment": code.served_packages.digest} if code.served_packages else {}
    return write_code(folder, part.model_copy(update=served | ({} if model else {"model": ""})))


def at_home(message: str, code: CodeInputs | None, work: Path) -> str:
    """A message with the project's own paths in place of those of the step's folder."""
    return message.replace(str(work / FILES), code.folder) if code else message


def _folder(code: CodeInputs) -> CodeFolder:
    return CodeFolder(
        roots=code.roots,
        model=code.model,
        transform=code.transform,
        env=code.env,
        secrets=code.secrets,
        environment=code.environment,
        pins=code.pins,
    )
