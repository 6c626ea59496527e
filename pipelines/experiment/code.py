"""The part of the experiment file that says where the user's own code is, and what it needs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tidegate.models.user_code.references import is_reference
from tidegate.pipelines.experiment.dotted import value_at
from tidegate.pipelines.experiment.part import Name, Part


def _reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError(
            f"{value!r} is no reference; expected package.module:name, a name in a module of your project; correct it"
        )
    return value


Reference = Annotated[str, AfterValidator(_reference)]
# Beginnings of variables that a step's process has read already when the project's come.
READ_BEFORE = ("PYTHON", "LD_", "TF_", "XLA_", "JAX_", "CUDA_", "KERAS_BACKEND", "TIDEGATE_")
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Code(Part):
    """The user's project: its folder, what it needs installed, and what its environment holds."""

    path: str | None = Field(
        None,
        description="the project's folder, relative to the experiment file; its folder when not given, or where the "
        "model file lies outside of it, the folder that holds the model file's package",
    )
    requirements: str | None = Field(
        None,
        description="a requirements.txt, pyproject.toml or uv.lock, relative to the experiment file: what the project "
        "needs beside what is installed; pinned with hashes when a run is submitted",
    )
    env: dict[Variable, str] = Field(
        {}, description="variables of the environment in which the project's code runs"
    )

    secrets: list[Name] = Field(
        [],
        description="names of secrets, whose variables the code gets too: HOME/secrets/NAME.env with mode 0600 here, a "
        "Secret of the namespace on a cluster",
    )

    def problems(self) -> Iterator[str]:
        for name in self.env:
            if name.startswith(READ_BEFORE):
                yield (
                    f"env: {name} is read when Python or TensorFlow starts, before the project gets its variables, and "
                    "would be ignored; expected variables that the code reads; set it where tidegate is called"
                )

    def resolved(self, folder: Path, file: str | None) -> "Code":
        """The same with every path made absolute.

        Args:
            folder: the experiment file's.
            file: the model file, absolute, if there is one.
        """
        path = (folder / (self.path or ".")).resolve()
        if self.path is None and file is not None and not Path(file).is_relative_to(path):
            path = above_package(Path(file).parent)
        given = {"requirements": str((folder / self.requirements).resolve())} if self.requirements else {}
        return self.model_copy(update={"path": str(path), **given})


def above_package(folder: Path) -> Path:
    """The nearest folder that is no package: the one that imports of its modules start from."""
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


# The keys that take a reference, and the first step whose result depends on what it names.
REFERENCES = {
    "data.load": "prepare",
    "data.transform": "prepare",
    "model.function": "train",
    "training.optimizer": "train",
    "training.loss": "train",
    "training.metrics": "train",
    "training.outputs": "train",
    "training.callbacks": "train",
    "training.function": "train",
}


def references_in(experiment: Mapping[str, Any]) -> dict[str, list[str]]:
    """The references of an experiment by its key, those among the choices of a search too.

    Args:
        experiment: as plain values.
    """
    space = value_at(experiment, "search.space") or {}
    found: dict[str, list[str]] = {}
    for key in REFERENCES:
        values = [value_at(experiment, key), space.get(key), space.get(f"{key}.name")]
        if key == "training.outputs":
            values = [one.get(part) for one in (values[0] or {}).values() for part in ("loss", "metrics")]
        names = list(dict.fromkeys(name for value in values for name in _names(value)))
        found |= {key: names} if names else {}
    return found


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and is_reference(value):
        yield value
    elif isinstance(value, Mapping):
        yield from (name for key in ("name", "choices") for name in _names(value.get(key)))
    elif isinstance(value, list | tuple):
        yield from (name for inner in value for name in _names(inner))
