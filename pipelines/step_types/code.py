"""The user's project as a step gets it."""

from pydantic import Field

from tidegate.infra.store import Ref
from tidegate.pipelines.step_types.base import StepPart


class CodeInputs(StepPart):
    """The snapshot of the user's project, and how it is used.

    Attributes:
        snapshot: its files in one archive.
        folder: where they were taken from, for messages.
        roots: folders that imports start from, relative to the project.
        model: the model's file, relative to the project, or its reference; "" where a family makes the model.
        transform: the reference of the transform of raw columns, or "".
        trained: files that the model, its loss and its metrics reach.
        served: files that the transform reaches.
        identity: of what training reaches; see `files_read`.
        env: variables of the environment.
        secrets: names of secrets, whose variables it gets too.
        environment: digest of the lock whose packages it needs, see `planning.project.lock`; "" for none.
        packages: these packages in one archive, for a pod; None: they are in the home.
        served_packages: the same for the endpoint's pods, with what their image lacks.
        pins: the lock's versions by name.
    """

    snapshot: Ref
    folder: str
    roots: tuple[str, ...] = (".",)
    model: str = ""
    transform: str = ""
    trained: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    identity: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    environment: str = ""
    packages: Ref | None = None
    served_packages: Ref | None = None
    pins: dict[str, str] = Field(default_factory=dict)


class CodedInputs(StepPart):
    """The base of the inputs of steps that run the user's code.

    Attributes:
        code: the project; None where the experiment has no code of its own.
    """

    code: CodeInputs | None = None
