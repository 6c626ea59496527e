"""prove: whether an endpoint still answers as its trained model did, and would if it were started now."""

from typing import Any

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import load
from tidegate.serving.errors import ProofError
from tidegate.serving.inference.golden import prove_in_new_process


def prove(home: Home, name: str) -> Result:
    """Answer the live release's golden rows, in a new process with this installation, and at its server.

    A server that fails takes no request any more.

    Args:
        home: the home.
        name: the endpoint.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the release has no golden rows, or the endpoint is on a cluster.
        ServerError: the server does not answer.
    """
    require_endpoint(home, name)
    state, place = load(home.store, name), hosting(home)
    release = state.release(state.current or 0)
    asked = place.prove(state, release.number)
    problem = ""
    try:
        proof = prove_in_new_process(fetch_bundle(home, release.bundle), home.path)
    except ProofError as error:
        proof, problem = None, str(error)
    if proof is None and not problem:
        raise UsageError(
            f"release {release.number} of {name} has no golden rows: an earlier version of Tidegate packaged it; "
            "submit its experiment again"
        )
    servers = {"a new process": problem, **asked}
    data: dict[str, Any] = {
        "endpoint": name,
        "release": release.number,
        "proved": not any(servers.values()),
        "rows": None if proof is None else proof.rows,
        "share": None if proof is None else proof.share,
        "max_abs_difference": None if proof is None else proof.max_abs_difference,
        "servers": servers,
    }
    text = table(("", "golden rows"), [(server, found or "as trained") for server, found in servers.items()])
    if proof is not None:
        text += f"\n\n{proof.rows} rows, within {proof.share:.2g} of what is allowed"
    return Result(data, text, exit_code=1 if any(servers.values()) else 0)
