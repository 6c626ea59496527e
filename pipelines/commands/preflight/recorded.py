"""What serving.record needs of the other parts of an experiment, and the gate of it."""

from pathlib import Path

from tidegate.models.data.read_options import CsvOptions
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.gate import replayed_by
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.serving.errors import RecordingError
from tidegate.serving.recording.settings import check_drop, repeated_by


def check_record(experiment: Experiment) -> None:
    """Refuse to drop what is no input, and a rule about recorded rows that none will ever meet or break.

    Raises:
        ExperimentError: names the key.
    """
    record = experiment.serving.record
    for criterion in replayed_by(experiment.gate):
        if record is None:
            raise ExperimentError(
                f"gate.metric: {criterion.metric} is of recorded requests, and serving.record is not stated, so there "
                "are none; state it, such as {share: 0.05}, or leave the rule out"
            )
        if record.drop:
            raise ExperimentError(
                f"gate.metric: {criterion.metric} is of recorded requests that are asked again, and "
                f"serving.record.drop leaves {', '.join(record.drop)} out of them; leave one of the two out"
            )
    if record is None or not record.drop:
        return
    repeated = _repeated(experiment, record.drop)
    inputs = record.drop if repeated else _inputs(experiment)
    if inputs is not None:
        try:
            check_drop(record, inputs, repeated)
        except RecordingError as error:
            raise ExperimentError(str(error)) from error


def _repeated(experiment: Experiment, drop: list[str]) -> list[str]:
    """What is dropped and an answer repeats, as far as the experiment says it."""
    data = experiment.data
    continued = data.inputs is None and data.stated_task == "generation"  # a language model's own input
    return repeated_by(data.stated_task or "", drop, "prompt" if continued and "prompt" in drop else None)


def _inputs(experiment: Experiment) -> list[str] | None:
    """The inputs of a request, where the file or the header of the data says them; else the deployment checks."""
    data = experiment.data
    if data.load is not None or data.transform is not None:
        return None
    if data.inputs is not None:
        return [entry.name for entry in data.inputs]
    path = Path(data.source or "")
    plain = data.csv is None and data.format in (None, "csv") and path.suffix == ".csv" and path.is_file()
    if not plain or not path.stat().st_size:
        return None
    # NumPy comes with it, which no other plan of a file here needs.
    from tidegate.models.readers.csv_dialect import sniffed

    targets = {entry if isinstance(entry, str) else entry.name for entry in data.target or ()}
    header = next(iter(sniffed(path, CsvOptions()).rows(path)), (0, []))[1]
    return [name for name in map(str.strip, header) if name not in targets]
