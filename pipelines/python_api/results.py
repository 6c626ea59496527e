"""What the API returns: the documents that the command line prints with `--json`, as typed objects."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from tidegate.pipelines.result import Result
from tidegate.pipelines.state.home import Status, StepStatus


class Document(BaseModel):
    """A part of a document. A key that a later version adds is an attribute too."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    _text: str = PrivateAttr("")

    @classmethod
    def of(cls, result: Result) -> Self:
        """What a command returned; `print` shows it as the command does."""
        made = cls.model_validate(result.data)
        made._text = result.text
        return made

    def to_dict(self) -> dict[str, Any]:
        """The document as `--json` prints it."""
        return self.model_dump(mode="json")

    def __str__(self) -> str:
        """As the command line shows it."""
        return self._text or super().__str__()


class StepState(Document):
    """One step of a run. `seconds`: its duration, 0 until it has ended."""

    id: str
    step: str
    status: StepStatus
    seconds: float = 0.0


class Trial(Document):
    """One trial. `params`: the values searched by dotted key; `undefined`: metrics without a value, and why;
    `pruned_at`: where the search's rule stopped it, in words."""

    id: str
    status: StepStatus
    params: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    undefined: dict[str, str] = {}
    pruned: bool = False
    pruned_at: str = ""
    resumed: str = ""
    mlflow_run_id: str | None = None


class RunResult(Document):
    """The result of a run, as of now.

    Attributes:
        reason: why it failed, was refused or cancelled.
        metrics: of the winner, flat.
        endpoint: the endpoint's base URL; None while nothing is live there.
        release: the number of its release; None where it was not released.
        replay: how the release answered what the live one had recorded; None where nothing was.
        parity: the largest difference between the served and the trained model's answers to held-out rows.
        proof: what the served model was compared with: training, answers that were given, or none.
        curl: a command that the endpoint answers.
        cause: the start of a schedule that it is; "" where a person submitted it.
        approval: whom it waits or waited for, and what they said; None where nobody was asked.
    """

    run: str
    status: Status
    reason: str = ""
    metrics: dict[str, float] = {}
    undefined: dict[str, str] = {}
    warnings: list[str] = []
    compared: list[str] = []
    trials: list[Trial] = []
    winner: dict[str, Any] | None = None
    champion: str | None = None
    mlflow_url: str | None = None
    synced: bool = False
    endpoint: str | None = None
    release: int | None = None
    replay: dict[str, Any] | None = None
    canary: list[dict[str, Any]] = []
    live_release: int | None = None
    runtime: str | None = None
    runtime_reason: str = ""
    parity: float | None = None
    proof: str = "none"
    batching: dict[str, Any] | None = None
    bento: str | None = None
    curl: str | None = None
    steps: list[StepState] = []
    cause: str = ""
    approval: dict[str, Any] | None = None


class RunRow(Document):
    """A run in the list of runs. `created`, `finished`: seconds since the epoch; `metric`: what ranks its trials."""

    run: str
    name: str
    status: Status
    endpoint: str
    created: float
    finished: float | None = None
    reason: str = ""
    metrics: dict[str, float] = {}
    metric: str | None = None
    synced: bool = False


class Compared(Document):
    """A run of a comparison, or a trial of a run's. `data`: the data's fingerprint; `rank`: of a trial, 1 the best."""

    run: str
    status: str
    params: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    data: str | None = None
    rank: int | None = None


class Comparison(Document):
    """What `compare` found. `url`: MLflow's own page of it; `winner`: of one run's trials."""

    runs: list[Compared]
    url: str | None = None
    winner: str | None = None
    metric: str | None = None


class PlannedStep(Document):
    """A step that a submit would do, unless it is `cached`. `files`, `packages`: what it reaches of a project."""

    id: str
    step: str
    cached: bool
    gpus: int = 0
    nodes: int = 1
    files: list[str] = []
    packages: dict[str, str] = {}


class Change(Document):
    """A key in which an experiment differs from what is live."""

    key: str
    live: Any
    new: Any


class Planned(Document):
    """What a submit would do. `rollout`: how a release would take over; `changed_files`: read by the model's code;
    `left_out`: files of the project that are not taken along, with the module that each would hide;
    `not_compared`: why `changes` is empty, where the experiment of the live release is not here."""

    run: str
    steps: list[PlannedStep]
    trials: int
    format: str | None = None
    streamed: bool = False
    rollout: str = ""
    changes: list[Change] = []
    not_compared: str = ""
    changed_files: list[str] = []
    left_out: dict[str, str] = {}


class Checked(Document):
    """One item of `check`. `fix`: what to do, where it is not ok."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


class ReleaseRow(Document):
    """A release of an endpoint. `state`: pending, live, failed or retired."""

    release: int
    run: str
    state: str


class EndpointRow(Document):
    """An endpoint. `release`: the live one's number; `live`: whether it answers; `drift`: of its requests' rows."""

    name: str
    release: int
    url: str
    live: bool
    drift: dict[str, Any] | None = None
    run: str
    bundle: str
    bento: str
    runtime: str
    created: str
    releases: list[ReleaseRow] = []
