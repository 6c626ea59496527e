"""What a user is told of a step that has ended, in a line."""

from typing import Any

from tidegate.pipelines.planning.step import TRIALS
from tidegate.pipelines.state.home import StepRecord
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.pipelines.step_types.train import pruned_text


def told(record: StepRecord, outputs: dict[str, Any] | None) -> list[str]:
    """What the user should know at once: about the data before the training, and why the gate refuses."""
    if record.step == "prepare" and outputs is not None and "error" not in outputs:
        return [f"warning: {sentence}" for sentence in outputs["summary"].get("warnings", [])]
    if record.step == "select" and outputs is not None and "error" not in outputs:
        return [f"refused: {reason}" for reason in outputs["refused"]]
    return [f"refused: {reason}" for reason in against_replay(record, outputs or {})]


def against_replay(record: StepRecord, outputs: dict[str, Any]) -> list[str]:
    """Why the gate refuses a release after it answered recorded requests; none where it did, or was not asked."""
    replay = outputs.get("replay") if record.step == "verify" else None
    return list(replay["against"]) if replay else []


def step_summary(record: StepRecord, outputs: dict[str, Any] | None) -> str:
    """The most important results of a finished step, in a few words."""
    if outputs is None:
        return ""
    if "error" in outputs:
        return (
            str(outputs["error"]) if record.step == "train" else ""
        )  # other steps end the run, which shows why
    if record.step == "prepare":
        dropped = outputs["summary"]["dropped_rows"]
        return f"{dropped} rows without a target were dropped" if dropped else ""
    if record.step in TRIALS:
        outputs = outputs if record.step == "train" else outputs["trained"]
        shown = {key: value for key, value in outputs["metrics"].items() if key.startswith("test_")}
        words = [f"{key}={value:.4g}" for key, value in list(shown.items())[:2]]
        words += [f"{key.rpartition('.')[2]}={value}" for key, value in outputs["params"].items()]
        return " ".join([*words, *filter(None, [pruned_text(outputs)])])
    if record.step == "package":
        near = "unproved" if outputs["parity"] is None else f"parity {outputs['parity']:.2g}"
        return f"{outputs['runtime']}, {near}, bento {outputs['bento']}"
    if record.step == "verify" and outputs.get("replay"):
        return Replayed.model_validate(outputs["replay"]).summary
    if record.step in ("deploy", "promote"):
        return f"release {outputs['release']}"
    return ""
