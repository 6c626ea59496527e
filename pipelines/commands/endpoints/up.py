"""up: start again what `down` or a reboot stopped."""

from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.pipelines.commands.workspace import ui
from tidegate.pipelines.errors import PipelineError, error_message
from tidegate.pipelines.hosting import ensure_live, hosting
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import refresh
from tidegate.serving.deployment.release import EndpointState
from tidegate.serving.errors import ServingError


def up(home: Home) -> Result:
    """Start every live release and the MLflow server, at the addresses they had; runs stay as they are.

    What cannot be started does not keep the others from it; then the exit code is 1.
    """
    refresh(home)
    parts = [_mlflow(home), *(_endpoint(home, state) for state in known_endpoints(home))]
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


def _line(kind: str, name: str, text: str) -> str:
    words = {"started": "started", "running": "already runs:", "failed": "cannot start"}
    return f"{words[kind]} {name}{': ' if kind == 'failed' else '  '}{text}"
