"""train: one trial. Leaves the Keras file, its ONNX export and its predictions of the held-out rows.

TensorFlow is imported here and nowhere else: every later step works from the files this one leaves.
"""

from pathlib import Path
from typing import Any

from infra.store import Ref
from models.callbacks import higher_is_better
from models.decoding.settings import Settings
from models.errors import MemberLostError, UserModelError
from models.search import suggest
from pipelines.errors import in_words
from pipelines.load import with_values
from pipelines.steps import StepContext, StepPart
from pipelines.steps.prepare import Outputs as Prepared
from pipelines.trial import Trial
from pipelines.trial_log import TrialLog, version_tags


class Outputs(StepPart):
    """A trained, evaluated model.

    Attributes:
        id: the trial's step id; its spool has the same name.
        index: number of the trial.
        keras: the model as Keras saves it.
        onnx: its ONNX export, or None with the reason in `export_error`.
        reference: raw predictions of the test rows by the process that trained, float32 (rows, units), .npy.
        report: history and predictions for the pictures, .npz.
        activation: of the model's last layer.
        params: the values searched, by dotted key.
        metrics: test_* and validation_* of the whole split.
        monitor: the epoch's value that the search optimises and the median rule watches.
        value: its best value.
        curve: its value after each epoch.
        events: what the trial told MLflow, for another run that uses it too.
        pruned: whether the median rule stopped it.
        resumed: the place it went on from after it was killed, in words; "" where it was not.
    """

    id: str
    index: int
    keras: Ref
    onnx: Ref | None
    export_error: str
    reference: Ref
    report: Ref
    events: Ref
    activation: str
    params: dict[str, Any]
    metrics: dict[str, float]
    monitor: str
    value: float
    curve: list[float]
    pruned: bool
    epochs: int
    resumed: str = ""


class Earlier(StepPart):
    """The run that training begins with; see `models.transfer.Start`."""

    run: str
    keras: Ref
    transforms: Ref
    freeze: list[str]


class Inputs(StepPart):
    """One trial's data, model, training, how texts or boxes are chosen and, in a search, what earlier trials found.

    `explain` says that the winner is to be explained: what could not be is refused before it is trained.
    """

    run: str
    name: str
    index: int
    prepared: Prepared
    shuffle_buffer: int | None = None
    model: dict[str, Any]
    training: dict[str, Any]
    gpus: int
    nodes: int = 1
    member_timeout: str = "10m"
    start: Earlier | None = None
    snapshot: Ref | None
    decoding: Settings | None = None
    explain: bool = False
    search: dict[str, Any] | None
    history: list[Outputs]
    content: dict[str, Any]
    versions: dict[str, str]
    tags: dict[str, str]


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Train one trial.

    Raises:
        ModelsError: GPUs asked for are not there, an option is wrong, the user's model fails, the loss is NaN.
    """
    params = _suggest(inputs)
    chosen = with_values({"model": inputs.model, "training": inputs.training}, params)
    content = with_values(inputs.content, params)
    tags = inputs.tags | version_tags(inputs.versions)
    log = TrialLog(context, inputs.run, inputs.name, inputs.index, content, tags)
    log.starting(chosen["training"]["backend"])
    try:
        trial = Trial(inputs, context, chosen["model"], chosen["training"], log)
        return Outputs(id=context.id, index=inputs.index, params=params, **trial.run())
    except UserModelError as error:
        told = str(error).replace(str(context.work), str(Path(inputs.model.get("file", "")).parent))
        log.failed(told)
        raise UserModelError(told) from error
    except MemberLostError:
        raise  # all of them start again, and the trial goes on
    except Exception as error:
        log.failed(in_words(error))
        raise


def follow(inputs: Inputs, context: StepContext) -> None:
    """Train the same trial as another process of its group does, which alone tells of it and keeps it.

    Raises:
        ModelsError: see `run`.
    """
    chosen = with_values({"model": inputs.model, "training": inputs.training}, _suggest(inputs))
    Trial(inputs, context, chosen["model"], chosen["training"], None).follow()


def _suggest(inputs: Inputs) -> dict[str, Any]:
    if inputs.search is None:
        return {}
    history = [{"params": trial.params, "value": trial.value} for trial in inputs.history]
    direction = "maximize" if history and higher_is_better(inputs.history[0].monitor) else "minimize"
    return suggest({**inputs.search, "direction": direction}, inputs.index, history)
