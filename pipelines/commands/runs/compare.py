"""compare: what differs between runs, or between the trials of one search."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.tracking import compare_url
from tidegate.pipelines.commands.runs.summary import trials_of
from tidegate.pipelines.commands.runs.winner import (
    ranking_metric,
    searched_text,
    selection_of,
    short_names,
    value_text,
)
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.dotted import flat
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.state.mirror import refresh
from tidegate.pipelines.step_types.train import pruned_text

MLFLOW_LIMIT = 100  # runs in one address


def compare(home: Home, run_ids: Sequence[str]) -> Result:
    """What differs between runs: parameters, metrics and data; of one run, between its trials.

    Args:
        home: the home.
        run_ids: runs' ids, or experiments' names for their newest runs.

    Raises:
        UnknownNameError: no such run.
        UsageError: one run without a search.
    """
    for run in run_ids:
        refresh(home, run, "spool/*")
    folders = {folder.run: folder for folder in (home.newest_run(run) for run in run_ids)}
    for run in folders.keys() - set(run_ids):
        refresh(home, run, "spool/*")
    records = [folder.read() for folder in folders.values()]
    return _runs(home, records) if len(records) > 1 else _trials(home, records[0])


def _runs(home: Home, records: Sequence[RunRecord]) -> Result:
    data: dict[str, Any] = {"runs": [], "url": _url(home, [(record.run, "run") for record in records])}
    for record in records:
        prepared, selected = outputs_of(home, record, "prepare"), selection_of(home, record)
        row = {"run": record.run, "status": record.status, "params": flat(record.experiment)}
        fingerprint = prepared[0]["fingerprint"] if prepared else None
        data["runs"].append(row | {"metrics": selected["metrics"] if selected else {}, "data": fingerprint})
    return Result(data, f"{_differences(data)}{_mlflow(data)}")


def _differences(data: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for part in ("params", "metrics"):
        keys = sorted({key for run in data["runs"] for key in run[part]})
        for key in keys:
            values = [run[part].get(key) for run in data["runs"]]
            if any(value != values[0] for value in values):
                rows.append((key, *(value_text(value) for value in values)))
    fingerprints = [(run["data"] or "")[:12] for run in data["runs"]]
    if len(set(fingerprints)) > 1:
        rows.append(("data", *fingerprints))
    head = ("", *(run["run"] for run in data["runs"]))
    return table(head, rows) if rows else "no difference in parameters, metrics or data"


def _trials(home: Home, record: RunRecord) -> Result:
    trials = trials_of(home, record)
    if len(trials) < (1 if record.experiment.get("search") else 2):
        raise UsageError(
            f"compare received one run, {record.run}, with {len(trials)} trial{'' if len(trials) == 1 else 's'}; "
            "expected several runs, or a run with a search"
        )
    selected = selection_of(home, record)
    ranking = list(selected["ranking"]) if selected else []
    place = {trial: number for number, trial in enumerate(ranking)}
    trials.sort(key=lambda trial: place.get(trial["id"], len(place)))
    metric = ranking_metric(record, selected)
    # The parent is the first: it has only what MLflow should plot first, the metrics of the whole split.
    finished = [trial["id"] for trial in trials if trial["metrics"]][:MLFLOW_LIMIT]
    data = {
        "run": record.run,
        "metric": metric,
        "winner": selected["trial"] if selected else None,
        "runs": [_trial_row(trial, place.get(trial["id"])) for trial in trials],
        "url": _url(home, [(record.run, name) for name in ("run", *finished)]),
    }
    return Result(data, f"{_ranked(data)}{_mlflow(data)}")


def _trial_row(trial: Mapping[str, Any], place: int | None) -> dict[str, Any]:
    rank = None if place is None else place + 1
    return {"run": trial["id"], "rank": rank} | {key: value for key, value in trial.items() if key != "id"}


def _ranked(data: Mapping[str, Any]) -> str:
    """A line a trial, the best first: the searched values, the gate's metric and others of the test rows."""
    keys = list(dict.fromkeys(key for trial in data["runs"] for key in trial["params"]))
    metrics = dict.fromkeys([data["metric"]] if data["metric"] else [])
    metrics |= dict.fromkeys(
        name for trial in data["runs"] for name in trial["metrics"] if name.startswith("test_")
    )
    rows = [
        (
            trial["run"],
            *(searched_text(trial["params"], key) for key in keys),
            *(value_text(trial["metrics"].get(name)) for name in metrics),
            _note(trial, data["winner"]),
        )
        for trial in data["runs"]
    ]
    return table(("trial", *short_names(keys).values(), *metrics, ""), rows)


def _note(trial: Mapping[str, Any], winner: str | None) -> str:
    if trial["run"] == winner:
        return "winner"
    return pruned_text(trial) or ("" if trial["metrics"] else trial["status"])


def _mlflow(data: Mapping[str, Any]) -> str:
    return f"\n\nMLflow  {data['url'] or 'not synced yet; `tidegate ui` starts it'}"


def _url(home: Home, spools: Sequence[tuple[str, str]]) -> str | None:
    """MLflow's page that compares runs; None while one of them is not there, or MLflow does not run."""
    base = mlflow_server.url(home.path)
    states = {run: replay.state(home.spool / run) for run in {run for run, _ in spools}}
    known = [states[run].get(name) for run, name in spools]
    if base is None or any(one is None for one in known):
        return None
    there = [one for one in known if one is not None]
    experiments = sorted({one["experiment_id"] for one in there})
    return compare_url(base, experiments, [one["run_id"] for one in there])
