"""The user's project in the process of a step: laid out from the snapshot, and on the import path."""

import os
import shutil
from pathlib import Path

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
    folder = environment_folder(home, code.environment)
    if code.packages is not None and not folder.is_dir():  # a pod
        lay_out_snapshot(home.store, code.packages, folder)
    use_code(write_code(work, _folder(code)))


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
    return write_code(folder, part if model else part.model_copy(update={"model": ""}))


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
