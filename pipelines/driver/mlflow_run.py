"""The driver's events for MLflow: of the parent run, and of trials that were cached."""

import time
from collections.abc import Mapping
from typing import Any

from tidegate.infra.mlflow.spool import Spool, events, names, path_of, read
from tidegate.infra.store import Ref
from tidegate.models.preprocessing.schema import Schema
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.planning.identity import content_of
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.planning.step import candidate_step
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.package import nearness
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.pipelines.steps.trials.trial_log import log_datasets, parameters, undefined_tags, version_tags

# Stands for the value of a searched key before there is one.
VARIED = object()


def fixed(values: Mapping[str, Any], varied: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are the same whatever the search draws."""
    return {key: value for key, value in values.items() if varied.get(key, VARIED) == value}


class RunLog:
    """Writes the parent run's events into its spool."""

    def __init__(self, home: Home, plan: Plan) -> None:
        """Write the run's name, tags and parameters; a continued run writes the same events, which count once."""
        self._home = home
        self._plan = plan
        self._folder = home.spool / plan.run
        self._folder.mkdir(parents=True, exist_ok=True)
        self._spool = Spool(self._folder)
        name, described = plan.experiment.name, plan.experiment.description
        self._note = [described]
        tags = {"tidegate.run": plan.run, "tidegate.endpoint": plan.experiment.endpoint, **plan.facts.tags}
        tags |= version_tags(plan.facts.versions[candidate_step(plan.experiment)])
        if described:
            tags["mlflow.note.content"] = described
        self._identity = {"name": plan.run, "experiment": name, "tags": tags}
        self._spool.write("run", "run", **self._identity)
        self._log_parameters()

    def _log_parameters(self) -> None:
        """Log what is known now; what the search varies is logged as the winner's, once there is one."""
        self._spool.write(
            "params", "params", values=fixed(self._parameters({}), self._parameters(self._any_point()))
        )
        source = self._plan.experiment.data.source
        if source:  # no parameter: no trial has it, and a plot of parent and trials would begin with it
            self._spool.write("tags", "source", values={"data.source": source})

    def _any_point(self) -> dict[str, Any]:
        search = self._plan.experiment.search
        keys = search.space if search is not None else {}
        return {key: VARIED for key in keys if not any(key.startswith(f"{outer}.") for outer in keys)}

    def _parameters(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a trial with these values of the search."""
        return parameters(with_values(content_of(self._plan.experiment, self._plan.facts), point))

    def set_tags(self, **values: Any) -> None:
        """Tag the parent run; each name is prefixed with `tidegate.`."""
        tags = {f"tidegate.{key}": value for key, value in values.items()}
        self._spool.write("tags", f"tags-{sorted(tags.items())}", values=tags)

    def log_step(self, step: str, outputs: Mapping[str, Any]) -> None:
        """A step is done: log its most important results."""
        if step == "prepare":
            self._datasets(Prepared.model_validate(outputs))
        elif step == "train":
            self._copy_trial(outputs)
        elif step == "import":
            self._copy_trial(outputs["trained"])
        elif step == "select":
            self._log_winner(outputs)
            undefined = undefined_tags(outputs.get("undefined", {}))
            self.set_tags(
                winner=outputs["trial"], ranked_by=outputs.get("ranked_by") or outputs["metric"], **undefined
            )
            self._spool.write("figures", f"figures-{outputs['trial']}", ref=outputs["winner"]["report"])
            trial = f"{self._plan.run}/trial-{outputs['winner']['index']}"
            self._add_note(f"Best of {len(outputs['ranking'])} by `{outputs['metric']}`: **{trial}**")
            for sentence in outputs.get("compared", ()):
                self._add_note(sentence)
            if outputs["champion"]:
                values = {f"champion_{key}": value for key, value in outputs["champion"].items()}
                self._spool.write("metrics", f"champion-{sorted(values.items())}", step=0, values=values)
        elif step == "package":
            tags = {key: outputs[key] for key in ("bundle", "bento", "runtime", "parity", "tolerance")}
            self.set_tags(**tags, **({"runtime_reason": outputs["reason"]} if outputs["reason"] else {}))
            near = nearness(outputs["parity"], outputs.get("proof", "training"))
            self._add_note(f"Bento `{outputs['bento']}`, served by {outputs['runtime']}, {near}")
        elif step == "verify" and outputs.get("replay"):
            replay = Replayed.model_validate(outputs["replay"])
            self._add_note(replay.summary)
            if replay.metrics:
                values = {**replay.metrics, "replay_rows": replay.rows}
                self._spool.write("metrics", f"replay-{sorted(values.items())}", step=0, values=values)
        elif step == "promote":
            self.set_tags(release=outputs["release"], url=outputs["url"])
            for stage in outputs.get("canary", ()):
                name = f"canary-{outputs['release']}-{stage['weight']}"
                self._spool.write("metrics", name, step=stage["weight"], values=stage["figures"])
            name = self._plan.experiment.endpoint
            endpoint = f"endpoint [{outputs['url']}]({outputs['url']})"
            self._add_note(
                f"Release {outputs['release']}: {endpoint}, registered model [{name}](#/models/{name})"
            )

    def _log_winner(self, outputs: Mapping[str, Any]) -> None:
        """The winner's metrics, the one that ranks first: MLflow's plots begin with it; and its searched values."""
        metric, metrics = outputs["metric"], outputs["metrics"]
        first = {metric: metrics[metric]} if metric in metrics else {}
        self._spool.write("metrics", f"metrics-{outputs['trial']}", step=0, values=first | metrics)
        values = self._parameters(outputs["winner"]["params"])
        self._spool.write("params", f"winner-{outputs['trial']}", values=values)
        self._complete_winner(outputs["winner"])
        for rank, trial in enumerate(outputs["ranking"], start=1):
            tags = {"tidegate.winner": rank == 1, "tidegate.rank": rank}
            self._spool.write("child_tags", f"rank-{trial}-{rank}", child=trial, values=tags)

    def _complete_winner(self, winner: Mapping[str, Any]) -> None:
        """The figures and the ONNX file of a search's winner; the other trials have none."""
        trial, report, onnx = winner["id"], winner["report"], winner["onnx"]
        written = events(self._folder, trial)
        if any(event["kind"] == "figures" for event in written):
            return
        self._spool.write("figures", f"figures-{trial}-{report['digest']}", child=trial, ref=report)
        if onnx:
            self._spool.write("model", f"model-{trial}-{onnx['digest']}", child=trial, onnx=onnx)

    def _add_note(self, paragraph: str) -> None:
        """Add to the description on the run's page, the newest first, because the page folds long ones."""
        self._note.insert(1, paragraph)
        text = "\n\n".join(filter(None, self._note))
        self._spool.write("tags", f"note-{text}", values={"mlflow.note.content": text})

    def _datasets(self, prepared: Prepared) -> None:
        schema = Schema.model_validate_json(self._home.store.fetch(prepared.schema_).read_bytes())
        name = self._plan.experiment.data.dataset or self._plan.experiment.name
        log_datasets(self._spool, name, schema, prepared)
        if prepared.columns is not None:
            ref = prepared.columns.model_dump(mode="json")
            self._spool.write(
                "artifact", f"columns-{prepared.columns.digest}", path="data/columns.txt", ref=ref
            )

    def _copy_trial(self, outputs: Mapping[str, Any]) -> None:
        """Make a trial of another run a child of this run too, from the events that it stored."""
        spool = path_of(self._folder, outputs["id"])
        if spool.exists():
            return
        source = self._home.store.fetch(Ref.model_validate(outputs["events"]))
        child = Spool(self._folder, outputs["id"])
        for event, _ in read(source):
            if event["kind"] == "run":
                trained_in = event["tags"]["tidegate.run"]
                event["tags"] |= {"tidegate.run": self._plan.run, "tidegate.trained_in": trained_in}
                event |= {"parent": self._plan.run, "name": f"{self._plan.run}/trial-{outputs['index']}"}
            elif event["kind"] == "params" and event["id"] == "loop":  # of a version before 0.2
                event["kind"] = "tags"
            elif event["kind"] == "params":  # its run's search and gate; here it is a trial of this one's
                event["values"] = self._parameters(outputs["params"])
            child.write(event.pop("kind"), event.pop("id"), **event)

    def end(self, status: str, reason: str = "") -> None:
        """The run ended; trials without an end are marked cancelled."""
        for name in names(self._folder):
            written = events(self._folder, name)
            if name != "run" and written and written[-1]["kind"] != "end":
                Spool(self._folder, name).write("end", f"end-{time.time()}", status="cancelled")
        last = events(self._folder)[-1]
        if last["kind"] == "end" and last["status"] == status:
            return
        more = {"reason": reason} if reason else {}
        self._spool.write("end", f"end-{time.time()}", status=status, **more)

    def mark_resumed(self) -> None:
        """The run continues after it had ended."""
        if events(self._folder)[-1]["kind"] == "end":
            self._spool.write("run", f"run-{time.time()}", **self._identity)
