"""monitoring: files for the Prometheus and the Grafana that watch other things too."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.commands.endpoints.drift import MOVED
from tidegate.pipelines.errors import writing_into
from tidegate.pipelines.experiment.serving import Serving, Slo
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.monitoring.alerts import alert_groups
from tidegate.pipelines.monitoring.dashboard import dashboard
from tidegate.pipelines.monitoring.scraping import operator_objects, scrape_here, scrape_pods
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home

MADE = "# Made by `tidegate monitoring`, which writes it again when endpoints or their slo have changed.\n"


def monitoring(home: Home, folder: str) -> Result:
    """Write alerts, a dashboard and what is scraped, for the endpoints that there are now.

    Args:
        home: the home.
        folder: files of an earlier call in it are replaced; created if missing.

    Raises:
        UsageError: the folder cannot be written.
    """
    target, files = Path(folder), _files(home)
    with writing_into(folder):
        target.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomic(target / name, content.encode())
    endpoints = [state.name for state in known_endpoints(home)]
    about = f"for {', '.join(endpoints)}" if endpoints else "for endpoints to come: there are none yet"
    text = "\n".join([*(f"wrote {target / name}" for name in files), about])
    return Result({"folder": str(target), "files": list(files), "endpoints": endpoints}, text)


def _files(home: Home) -> dict[str, str]:
    states, host, slos = known_endpoints(home), hosting(home), dict[str, Slo]()
    for state in states:
        slo = Serving.model_validate(state.release(state.current or 0).serving).slo
        if slo is not None:
            slos[state.name] = slo
    groups, board = alert_groups((state.name for state in states), slos, MOVED), dashboard()
    files = {"alerts.yaml": _yaml(groups), "dashboard.json": json.dumps(board, indent=1) + "\n"}
    if home.target is None:
        addresses = (urlsplit(host.url(state)).netloc for state in states)
        return files | {"scrape.yaml": _yaml(scrape_here(addresses))}
    namespace = home.target.namespace
    found = {state.name: host.trust(state) for state in states}
    known = {name: trust for name, trust in found.items() if trust is not None}
    trusts = None if home.target.tls is None else known
    objects = "---\n".join(map(_yaml, operator_objects(namespace, groups, board, trusts)))
    return files | {"scrape.yaml": _yaml(scrape_pods(namespace, trusts)), "operator.yaml": objects}


def _yaml(document: dict[str, Any]) -> str:
    return MADE + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
