"""What a search found: the metric that ranks its trials, and the winner with the values drawn for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home, RunRecord


def ranking_metric(record: RunRecord, selected: Mapping[str, Any] | None) -> str | None:
    """The gate's first metric: as `select` used it, or as the experiment names it; None when neither is known."""
    if selected is not None:
        return str(selected["metric"])
    gate = record.experiment.get("gate") or []
    first = gate[0] if isinstance(gate, list) and gate else gate
    return first.get("metric") if isinstance(first, Mapping) else None


def winner_of(
    trials: Sequence[Mapping[str, Any]], selected: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The winning trial of a search: id, values, MLflow run, metric and its value; None without a search or winner.

    Args:
        trials: see `run_summary.trials_of`.
        selected: outputs of `select`.
    """
    won = next((trial for trial in trials if selected and trial["id"] == selected["trial"]), None)
    if selected is None or won is None or not won["params"]:
        return None
    kept = {key: won[key] for key in ("id", "params", "mlflow_run_id")}
    return kept | {"metric": selected["metric"], "value": won["metrics"].get(selected["metric"])}


def winner_text(winner: Mapping[str, Any], trials: int) -> str:
    """The winner in a line: `train-1-0fc8fa45dd of 6  learning_rate 0.0031  dropout 0.2`."""
    return "  ".join([f"{winner['id']} of {trials}", *values_text(winner["params"])])


def values_text(params: Mapping[str, Any]) -> list[str]:
    """Each searched value under its short name."""
    return [f"{short} {searched_text(params, key)}" for key, short in short_names(params).items()]


def searched_text(params: Mapping[str, Any], key: str) -> str:
    """A searched value for a table: `-` where the trial has none, because its condition does not hold."""
    if params and key not in params:
        return "-"
    return "null" if params and params[key] is None else value_text(params.get(key))


def short_names(keys: Mapping[str, Any] | Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key; the whole key where two would be the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}


def value_text(value: object) -> str:
    """A value for a table: numbers with five digits, nothing for None."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def selection_of(home: Home, record: RunRecord) -> dict[str, Any] | None:
    """Outputs of the run's `select`, or None."""
    return next(iter(outputs_of(home, record, "select")), None)
