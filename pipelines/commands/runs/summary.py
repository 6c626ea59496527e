"""What a submit returns: the result of its run, as JSON and as text."""

import json
import time
from typing import Any

from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.tracking import run_url
from tidegate.pipelines.commands.runs.winner import winner_of, winner_text
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.planning.step import STEPS, TRIALS
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.approvals import find_request
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.finished_steps import find_outputs, outputs_of
from tidegate.pipelines.state.home import Home, RunFolder, RunRecord, StepRecord
from tidegate.pipelines.step_types.package import nearness
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.measurements import Batching
from tidegate.serving.deployment.client import API_KEY
from tidegate.serving.deployment.release import EndpointState, load

REFUSED = 3
NOT_ENDED = 4  # it waits for an approval; or it still runs, after the time that `wait` was given
EXIT_CODES = {"refused": REFUSED, "waiting": NOT_ENDED}


def mlflow_url(home: Home, run: str) -> str | None:
    """The run's page in the MLflow UI, or None while MLflow does not know it or does not run."""
    base, known = mlflow_server.url(home.path), replay.state(home.spool / run).get("run")
    return run_url(base, known["experiment_id"], known["run_id"]) if base and known else None


def curl_for(home: Home, state: EndpointState, number: int) -> str:
    """A curl command that the endpoint answers, with a held-out row of the release's own bundle.

    Where the target names an authority, it is the file `ca.crt` of whoever asks.
    """
    bundle = open_bundle(fetch_bundle(home, state.release(number).bundle))
    body = json.dumps({"rows": bundle.sample[:1]}, separators=(",", ":"), ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    needs_key = Serving.model_validate(state.release(number).serving).guarded
    headers = "-H 'Content-Type: application/json'"
    headers += f' -H "Authorization: Bearer ${API_KEY}"' if needs_key else ""
    place = hosting(home)
    trust = place.trust(state)
    headers += " --cacert ca.crt" if trust is not None and trust.authority else ""
    return f"curl -sS {place.url(state)}/predict {headers} -d '{quoted}'"


def run_result(home: Home, folder: RunFolder) -> Result:
    """The result of a run that has ended."""
    record = folder.read()
    prepared, selected, packaged, verified, promoted = (
        next(iter(outputs_of(home, record, step)), None)
        for step in ("prepare", "select", "package", "verify", "promote")
    )
    state = load(home.store, record.endpoint)
    live = promoted is not None and state.current is not None
    data = {
        "run": record.run,
        "status": record.status,
        "reason": record.reason,
        "metrics": selected["metrics"] if selected else {},
        "undefined": selected.get("undefined", {}) if selected else {},
        "warnings": _warnings(prepared, candidates_of(home, record), selected),
        "compared": selected.get("compared", []) if selected else [],
        "trials": (trials := trials_of(home, record)),
        "winner": winner_of(trials, selected),
        "champion": _champion(state, selected["trial"] if selected and promoted else None),
        "mlflow_url": mlflow_url(home, record.run),
        "synced": record.synced or replay.progress(home.spool / record.run).synced,
        "endpoint": hosting(home).url(state) if state.current is not None else None,
        "release": promoted["release"] if promoted else None,
        "replay": verified.get("replay") if verified else None,
        "canary": promoted.get("canary", []) if promoted else [],
        "live_release": state.current,
        "runtime": packaged["runtime"] if packaged else None,
        "runtime_reason": packaged["reason"] if packaged else "",
        "parity": packaged["parity"] if packaged else None,
        "proof": packaged.get("proof", "training") if packaged else "none",
        "batching": packaged.get("batching") if packaged else None,
        "bento": packaged["bento"] if packaged else None,
        "curl": curl_for(home, state, state.current) if live and state.current else None,
        "steps": steps_of(record),
        "cause": record.cause,
        "approval": approval_data(home, record),
    }
    return Result(data, _summary(data, state), EXIT_CODES.get(record.status, 0))


def approval_data(home: Home, record: RunRecord) -> dict[str, Any] | None:
    """What people were asked and what they said; None where nobody was asked."""
    request = find_request(home.store, record.run)
    if request is None:
        return None
    known = request.model_dump(mode="json", include={"needed", "asked", "until", "decisions"})
    return known | {"verdict": request.verdict(time.time())}


def steps_of(record: RunRecord) -> list[dict[str, Any]]:
    """The run's steps in their order."""
    return [step.model_dump(include={"id", "step", "status", "seconds"}) for step in _ordered(record)]


def _ordered(record: RunRecord) -> list[StepRecord]:
    """Steps in their order, trials by number: the record has them in the order in which they ended."""
    return sorted(record.steps, key=lambda step: (STEPS.index(step.step), _number(step.id)))


def _number(step_id: str) -> int:
    """The trial's number in `train-3-…`; 0 for other steps."""
    return int(step_id.split("-")[1]) if step_id.startswith("train-") else 0


def trials_of(home: Home, record: RunRecord) -> list[dict[str, Any]]:
    """Each trial: id, status, the values searched, metrics, and its MLflow run once it is known."""
    known = replay.state(home.spool / record.run)
    trials = []
    for step in (step for step in _ordered(record) if step.step in TRIALS):
        outputs = find_outputs(home.store, step.key) if step.status in ("done", "cached") else None
        outputs = outputs["trained"] if outputs and step.step == "import" else outputs
        trials.append(
            {
                "id": step.id,
                "status": step.status,
                "params": outputs["params"] if outputs else {},
                "metrics": outputs["metrics"] if outputs else {},
                "undefined": outputs.get("undefined", {}) if outputs else {},
                "pruned": outputs["pruned"] if outputs else False,
                "pruned_at": outputs.get("pruned_at", "") if outputs else "",
                "resumed": outputs.get("resumed", "") if outputs else "",
                "mlflow_run_id": known.get(step.id, {}).get("run_id"),
            }
        )
    return trials


def candidates_of(home: Home, record: RunRecord) -> list[dict[str, Any]]:
    """Outputs of the run's trials, or its imported model."""
    imported = [found["trained"] for found in outputs_of(home, record, "import")]
    return imported or outputs_of(home, record, "train")


def _warnings(
    prepared: dict[str, Any] | None, trained: list[dict[str, Any]], selected: dict[str, Any] | None
) -> list[str]:
    """What the user should know about the data, the trainings and the comparison; earlier versions kept none."""
    parts = [prepared["summary"] if prepared else {}, *trained, selected or {}]
    return list(dict.fromkeys(sentence for part in parts for sentence in part.get("warnings", ())))


def decision_text(decision: dict[str, Any]) -> str:
    """What somebody said, for people."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(decision["time"]))
    said = "approved" if decision["approves"] else "refused"
    reason = f": {decision['reason']}" if decision["reason"] else ""
    return f"{said} by {decision['who']} at {when}{reason}"


def _no_page(synced: bool) -> str:
    return "does not run; `tidegate ui` starts it" if synced else "not synced; `tidegate ui` syncs it"


def _champion(state: EndpointState, own: str | None) -> str | None:
    """The run's own winner once it was promoted; for a refused run, the champion that stayed."""
    return own or (state.release(state.current).trial if state.current is not None else None)


def _summary(data: dict[str, Any], state: EndpointState) -> str:
    shown = [(key, value) for key, value in data["metrics"].items() if key.startswith("test_")]
    rows: list[tuple[str, object]] = [("run", f"{data['run']}  {data['status']}")]
    rows += [("metrics", "  ".join(f"{key} {value:.4f}" for key, value in shown))] if shown else []
    rows += [
        ("", f"{key} undefined: {reason}")
        for key, reason in data["undefined"].items()
        if key.startswith("test_")
    ]
    if data["winner"]:
        rows.append(("winner", winner_text(data["winner"], len(data["trials"]))))
    folds = [
        (key.removeprefix("folds_"), value)
        for key, value in data["metrics"].items()
        if key.startswith("folds_")
    ]
    rows += [("folds", "  ".join(f"{key} {value:.4f}" for key, value in folds))] if folds else []
    rows += [
        ("resumed", f"{trial['id']} from {trial['resumed']}") for trial in data["trials"] if trial["resumed"]
    ]
    rows += [("compared", sentence) for sentence in data["compared"]]
    rows += [("warning", sentence) for sentence in data["warnings"]]
    if data["replay"]:
        rows.append(("replay", Replayed.model_validate(data["replay"]).summary))
    if data["status"] in ("refused", "waiting"):
        rows.append((data["status"], data["reason"]))
    if data["approval"]:
        rows += [("", decision_text(one)) for one in data["approval"]["decisions"]]
    if data["cause"]:
        rows.append(("started by", f"the schedule {data['cause']}"))
    if data["release"] is not None:
        runtime = f"{data['runtime']}, {nearness(data['parity'], data['proof'])}"
        rows.append(("release", f"{data['release']}  {runtime}"))
        if data["live_release"] not in (None, data["release"]):
            back = f"`tidegate rollback {state.name} --to {data['release']}` serves this one"
            if data["release"] not in {known.number for known in state.releases}:
                back = "this one was forgotten, as serving.keep says; submit it again to release it anew"
            rows.append(("live now", f"release {data['live_release']}; {back}"))
    if data["runtime_reason"]:
        rows.append(("", data["runtime_reason"]))
    if data["batching"] and data["batching"]["rows"] > 1:
        rows.append(("requests", Batching.model_validate(data["batching"]).summary))
    rows.append(("MLflow", data["mlflow_url"] or _no_page(data["synced"])))
    rows.append(("endpoint", data["endpoint"] or "none"))
    lines = [table(("", ""), rows).strip("\n ")]
    return "\n".join([*lines, "", data["curl"]] if data["curl"] else lines)
