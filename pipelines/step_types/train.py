"""Inputs and outputs of `train`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tidegate.infra.store import Ref
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.search import Pruning
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.prepare import Prepared


class Trained(StepPart):
    """A trained, evaluated model.

    Attributes:
        id: the trial's step id; its spool has the same name.
        index: number of the trial.
        keras: the model as Keras saves it; None for a trained model of another format.
        onnx: its ONNX export, or None with the reason in `export_error`.
        cached: its ONNX export that reads only new tokens of a text; None for most families.
        exported: False for a trial of a search, which is not exported and has no probes; `select` does that for the
            winner alone.
        reference: raw predictions of the test rows by the process that trained, float32 (rows, units), .npy.
        proof: what its answers are compared with: those of the process that trained it, the given answers of its own
            framework, or nothing.
        probes: rows that show a difference held-out ones hide, and the answers to them; None in older outputs, and
            where there are no held-out rows.
        report: history and predictions for the figures, .npz.
        activation: of the model's last layer.
        params: the searched values, by dotted key.
        metrics: test_* and validation_* of the whole split.
        undefined: why a metric has no value, by its name.
        monitor: the metric that the search optimises and its rule compares.
        value: its best value.
        curve: its value after each epoch.
        events: the trial's events for MLflow, for other runs that use it.
        thresholds: of sets of labels, from which probability each is answered; None: 0.5 for all.
        pruned: whether the search's rule stopped it.
        pruned_at: where, in words; "" if it did not.
        resumed: the position from which it resumed after it was killed, as text; "" if it was not.
        read: path -> SHA-256 of the files that the user's code read besides the model file.
        warnings: what the user should know about the training, one sentence each.
    """

    id: str
    index: int
    keras: Ref | None
    onnx: Ref | None
    export_error: str
    reference: Ref
    report: Ref
    events: Ref
    activation: str
    params: dict[str, Any]
    metrics: dict[str, float]
    undefined: dict[str, str] = Field({})
    monitor: str
    value: float
    curve: list[float]
    pruned: bool
    pruned_at: str = ""
    epochs: int
    resumed: str = ""
    read: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    probes: Ref | None = None
    proof: Literal["training", "answers", "none"] = "training"
    exported: bool = True
    cached: Ref | None = None
    thresholds: tuple[float, ...] | None = None


def pruned_text(trained: Mapping[str, Any]) -> str:
    """`pruned`, and where, of a trial's outputs; "" of one that was not; earlier versions did not say where."""
    where = trained.get("pruned_at")
    return "" if not trained["pruned"] else f"pruned at {where}" if where else "pruned"


class WarmStartInputs(StepPart):
    """The weights that training starts from; see `networks.fine_tuning.WarmStart`.

    Attributes:
        run: the run that made them, or the file's name.
        keras: a .keras file, or weights alone (.weights.h5).
        transforms: of the model's inputs; None: they are not known.
        foreign: whether they are of no run, so that the rows they learned from are not known.
    """

    run: str
    keras: Ref
    transforms: Ref | None
    foreign: bool = False
    freeze: list[str]


class Draw(StepPart):
    """How a trial's values are drawn: the part of the search that affects it, and the trial's number.

    `seen` is the number of earlier trials whose results it may use: the first ones, whichever ended first.
    """

    method: Literal["grid", "random", "tpe"]
    seed: int
    pruning: Pruning | None
    space: dict[str, Any]
    index: int
    seen: int = 0


class TrainInputs(CodedInputs):
    """One trial's data, model, training, decoding settings and, in a search, its values.

    `params` are the values searched, by dotted key, and `limits` the monitored values that it must reach by epoch;
    both are known only when the trial starts, see `planning.suggestions`.

    If `explain` is true, a model that cannot be explained is refused before it is trained. `stated` are the options of
    `training` that the experiment states, which a model of the user's may contradict.
    """

    run: str
    name: str
    index: int
    prepared: Later[Prepared]
    shuffle_buffer: int | None = None
    model: dict[str, Any]
    training: dict[str, Any]
    gpus: int
    nodes: int = 1
    member_timeout: str = "10m"
    start: WarmStartInputs | None = None
    weights: Ref | None = None
    decoding: DecodingSettings | None = None
    explain: bool = False
    stated: tuple[str, ...] = ()
    search: Draw | None
    params: dict[str, Any] = Field(default_factory=dict)
    limits: list[float | None] | None = None
    content: dict[str, Any]
    versions: dict[str, str]
    tags: dict[str, str]

    @property
    def export_later(self) -> bool:
        """Whether only the winner is exported and explained, by `select`.

        Not where the process that trained has what `select` lacks: a GPU, whose answers are the proof, and the test
        rows that the run to begin with did not learn from.
        """
        return self.search is not None and not self.gpus and self.nodes == 1 and self.start is None
