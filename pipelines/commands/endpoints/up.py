"""up: start again what `down` or a reboot stopped."""

from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.system.processes import find
from tidegate.pipelines.commands.schedules.scheduler import NAME as SCHEDULER
from tidegate.pipelines.commands.schedules.scheduler import ensure_scheduler
from tidegate.pipelines.commands.workspace import ui
from tidegate.pipelines.errors import PipelineError, error_message
from tidegate.pipelines.hosting import ensure_live, hosting
from tidegate.pipelines.result import Result
from tidegate.pipelines.scheduling.document import names
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import refresh
from tidegate.serving.deployment.release import EndpointState
from tidegate.serving.errors import ServingError


def up(home: Home) -> Result:
    """Start every live release, the MLflow server, at the addresses they had, and the scheduler; runs stay as they are.

    What cannot be started does not keep the others from it; then the exit code is 1.
    """
    refresh(home)
    parts = [_mlflow(home), *(_endpoint(home, state) for state in known_endpoints(home)), *_scheduler(home)]
    data: dict[str, Any] = {
        key: [name for kind, name, _ in parts if kind == key] for key in ("started", "running")
    }
    data["failed"] = [{"name": name, "problem": text} for kind, name, text in parts if kind == "failed"]
    lines = [_line(*part) for part in parts]
    return Result(data, "\n".join(lines), 1 if data["failed"] else 0)


def _mlflow(home: Home) -> tuple[str, str, str]:
    ran = mlflow_server.url(home.path) is not None
    try:
        return "running" if ran else "started", "mlflow", ui(home, quiet=True).text
    except InfraError as error:
        return "failed", "mlflow", str(error)


def _endpoint(home: Home, state: EndpointState) -> tuple[str, str, str]:
    name, url = f"endpoint {state.name}", hosting(home).url(state)
    try:
        if hosting(home).answers(state):
            return "running", name, url
        ensure_live(home, state.name)
        return "started", name, f"{url}, release {state.current}"
    except (PipelineError, ServingError, InfraError) as error:
        return "failed", name, error_message(error)


def _scheduler(home: Home) -> list[tuple[str, str, str]]:
    """The process that keeps the schedules, where there are some."""
    known = names(home.store) if home.target is None else []
    if not known:
        return []
    ran = find(home.processes, SCHEDULER) is not None
    try:
        ensure_scheduler(home)
    except InfraError as error:
        return [("failed", SCHEDULER, str(error))]
    return [("running" if ran else "started", SCHEDULER, ", ".join(known))]


def _line(kind: str, name: str, text: str) -> str:
    words = {"started": "started", "running": "already runs:", "failed": "cannot start"}
    return f"{words[kind]} {name}{': ' if kind == 'failed' else '  '}{text}"
