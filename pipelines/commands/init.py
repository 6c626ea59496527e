"""init: a new experiment file, from a template or for a project that is there."""

import shlex
import shutil
from pathlib import Path

from tidegate.pipelines.errors import UsageError, writing_into
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.yaml_loader import parse
from tidegate.pipelines.result import Result
from tidegate.pipelines.scanning.draft import draft, name_of

TEMPLATES = Path(__file__).parents[1] / "templates"
FILE = "experiment.yaml"


def init(folder: str | None, project: str | None = None) -> Result:
    """Write a new experiment; no file is ever replaced.

    Args:
        folder: where it goes; None: into the project.
        project: a project's folder, which is looked at without running anything of it; None: a template, with a model
            file and data, is written.

    Raises:
        UsageError: a file is there already, or the folder cannot be written.
    """
    if project is not None:
        return _for_project(Path(project), Path(folder or project))
    if folder is None:
        raise UsageError("init received no folder; expected DIR, or --from PROJECT; name one")
    return _from_template(Path(folder))


def _for_project(project: Path, folder: Path) -> Result:
    if not project.is_dir():
        raise UsageError(f"--from {project} is no folder; expected a project's; correct it")
    target = folder / FILE
    _require_free(folder, [FILE])
    made = draft(project.resolve(), folder.resolve())
    validate(parse(made.text), str(target))  # what is written can be read
    with writing_into(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as stream:
            stream.write(made.text)
    lines = [str(target), *(f"unsure: {sentence}" for sentence in made.unsure)]
    text = "\n".join([*lines, "", f"next: tidegate plan {shlex.quote(str(target))}"])
    return Result({"files": [str(target)], "unsure": made.unsure}, text)


def _from_template(target: Path) -> Result:
    names = sorted(path.name for path in TEMPLATES.iterdir() if path.is_file())
    _require_free(target, names)
    with writing_into(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(TEMPLATES / name, target / name)
        # Named after its folder, so that two new ones do not share an endpoint.
        file = target / FILE
        file.write_text(file.read_text().replace("name: my-experiment", f"name: {name_of(target)}"))
    files = [str(target / name) for name in names]
    text = "\n".join([*files, "", f"next: tidegate submit {shlex.quote(str(target / FILE))}"])
    return Result({"files": files, "unsure": []}, text)


def _require_free(folder: Path, names: list[str]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise UsageError(
            f"{folder} already has {', '.join(there)}; expected none of them; choose an empty folder, or move them away"
        )
