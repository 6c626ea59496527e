"""Injected faults: a part of the cluster that restarts, and an etcd without the revisions that watches need."""

import base64
import json
import ssl
import urllib.request
from typing import Any

from tidegate.infra.system import processes
from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.parts import ETCD
from tidegate.infra.testbed.running import check_alive, kubectl_succeeds, start, stop


def restart(layout: Layout, name: str) -> None:
    """Stop a process of the cluster and start it with the same arguments; returns when the API server answers.

    Raises:
        PreconditionError: no process of that name runs.
        NotReadyError: the API server does not answer.
    """
    record = processes.recorded(layout.processes, name)
    if record is None:
        known = ", ".join(one.name for one in processes.records(layout.processes)) or "nothing is up"
        raise PreconditionError(f"the process is {name!r}; expected one of: {known}")
    stop(layout, name)
    start(layout, name, list(record.argv))
    wait(
        "The API server", lambda: check_alive(layout) and kubectl_succeeds(layout, "get", "--raw=/readyz"), 40
    )


def compact(layout: Layout) -> int:
    """Make etcd drop every older revision; return the one that is kept.

    A watch that continues from an older revision gets 410 Gone.
    """
    # Any key will do: the header of each response has the newest revision.
    newest = int(_etcd(layout, "range", {"key": base64.b64encode(b"\0").decode()})["header"]["revision"])
    _etcd(layout, "compaction", {"revision": str(newest), "physical": True})
    return newest


def _etcd(layout: Layout, what: str, words: dict[str, Any]) -> dict[str, Any]:
    pki = layout.pki
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "etcd.crt", pki / "etcd.key")
    request = urllib.request.Request(f"{ETCD}/v3/kv/{what}", json.dumps(words).encode())
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found
