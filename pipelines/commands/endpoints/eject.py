"""eject: a release as a folder that runs without Tidegate, with golden rows as its test."""

import json
import shutil
import sys
from pathlib import Path
from string import Template

from tidegate.pipelines.commands.endpoints.ejected_rows import EjectedRows, ejected_rows
from tidegate.pipelines.commands.endpoints.served_packages import packages_of
from tidegate.pipelines.errors import UsageError, writing_into
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.import_closure import ROOT, import_closure, imports_in
from tidegate.serving.deployment.release import Release

TEMPLATES = Path(__file__).parents[2] / "templates" / "ejected"
PREDICTOR = "tidegate.serving.inference.predictor"


def eject(home: Home, name: str, folder: str) -> Result:
    """Write the live release of an endpoint as a folder that needs nothing of ours.

    Args:
        home: the home.
        name: the endpoint.
        folder: a new or an empty one.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the folder holds files, or cannot be written.
    """
    state = require_endpoint(home, name)
    release = state.release(state.current or 0)
    bundle, target = open_bundle(fetch_bundle(home, release.bundle)), Path(folder)
    golden = ejected_rows(home, release, bundle)
    with writing_into(folder):
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise UsageError(f"{folder} holds files; expected a new or an empty folder; choose another")
        modules = _copy(bundle, target)
        _write(release, bundle, golden, modules, target)
    data = {"endpoint": name, "release": release.number, "folder": str(target), "golden": len(golden.rows)}
    text = f"release {release.number} of {name} is in {target}; {len(golden.rows)} golden rows of {golden.of}"
    return Result(
        data, f"{text}\n\nnext: pip install -r requirements.txt && python test_golden.py, in {target}"
    )


def _copy(bundle: Bundle, target: Path) -> int:
    """Copy the bundle and the modules that predict with it; return how many modules."""
    shutil.copytree(bundle.folder, target / "bundle")
    own = {name for file in bundle.code_files for name in imports_in(file.read_text("utf-8"))}
    modules = import_closure([PREDICTOR, *own])
    for file in modules.values():
        copy = target / "tidegate" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return len(modules)


def _write(release: Release, bundle: Bundle, golden: EjectedRows, modules: int, target: Path) -> None:
    words = {
        "name": release.endpoint,
        "release": release.number,
        "run": release.run,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "model": bundle.model.name,
        "modules": modules,
        "rows": len(golden.rows),
        "of": golden.of,
    }
    for template in TEMPLATES.iterdir():
        if template.suffix == ".py":
            shutil.copyfile(template, target / template.name)
        elif template.is_file():
            (target / template.name).write_text(
                Template(template.read_text("utf-8")).substitute(words), "utf-8"
            )
    known = {
        "of": golden.of,
        "tolerance": release.parity.tolerance,
        "rows": golden.rows,
        "answers": golden.answers,
    }
    documents = {
        "release.json": {"model": release.endpoint, "release": release.number},
        "golden.json": known,
        "example.json": {"rows": golden.rows[:1]},
    }
    for file, document in documents.items():
        (target / file).write_text(json.dumps(document, ensure_ascii=False) + "\n", "utf-8")
    (target / "requirements.txt").write_text("\n".join(sorted(packages_of(bundle))) + "\n", "utf-8")
