"""Endpoints on this machine: one server process per release; one of them has the endpoint's port.

`plan` uses this module too, so slow imports (psutil, NumPy for bundles) are made where they are needed.
"""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.infra.errors import ConflictError
from tidegate.infra.system.locks import is_held, lock
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting.base import Live
from tidegate.pipelines.hosting.own_key import OWN_KEY, key_in_file, line_of
from tidegate.pipelines.hosting.secret_files import check_issuers, check_secret, secrets_of
from tidegate.pipelines.recordings.places import check_key, record_to
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.state.home import Home, RunFolder
from tidegate.pipelines.state.ports import HOST, check_port, choose_port, port_is_free
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.handover import (
    GRACE,
    SECRETS,
    drain,
    prove_now,
    server_argv,
    status,
    take_over,
    wait_ready,
)
from tidegate.serving.deployment.release import EndpointState, Release, load, promote, update
from tidegate.serving.errors import PortTakenError, ServerStartError

if TYPE_CHECKING:
    from tidegate.serving.deployment.connections import Trust

START_S = 60.0
DEFAULTS = Serving.model_construct()
CLUSTER_ONLY = ("replicas", "canary", "resources")  # keys that have an effect on a cluster only


class LocalHosting:
    """The servers of a home's endpoints."""

    def __init__(self, home: Home) -> None:
        """Use the home's processes and store."""
        self._home = home

    def check(self, state: EndpointState, serving: Serving) -> None:
        """Refuse a port that the endpoint cannot have, and keys that are not there."""
        check_port(self._home, state, serving.port)
        self._check_access(serving)

    def _check_access(self, serving: Serving) -> None:
        """Refuse keys and issuers' keys that are not there, or that others may change."""
        if serving.keys is not None:
            from tidegate.serving.http.api_keys import read_keys

            path = self._keys(serving.keys)
            check_secret(path, f"serving.keys: {serving.keys}", partial(read_keys, path))
        check_issuers(self._home, serving.jwt, "serving.jwt")
        if serving.record is not None:
            check_key(self._home)

    def describe(self, serving: Serving) -> str:
        """One server takes over the port from the previous one."""
        text = "a release takes over the endpoint's port from the previous one, if there is one, with no failed request"
        asked = [f"serving.{key}" for key in CLUSTER_ONLY if getattr(serving, key) != getattr(DEFAULTS, key)]
        note = (
            f"; {', '.join(asked)}: used on a cluster only, here one server takes over at once"
            if asked
            else ""
        )
        return text + note

    @contextlib.contextmanager
    def lock(self, name: str, run: str) -> Iterator[None]:
        """Hold the endpoint's lock file; the kernel releases it when the holder ends."""
        del run
        with lock(self._home.endpoints / f"{name}.lock", timeout=120):
            yield

    def choose_port(self, state: EndpointState, wanted: int | None) -> int | None:
        """The port that the endpoint has, the wanted one, or the first free one."""
        port = choose_port(self._home, state, wanted)
        if state.current is None and not port_is_free(port):
            raise PortTakenError(port, HOST)
        return port

    def facts(self, endpoint: str) -> dict[str, str]:
        """None: this installation serves."""
        del endpoint
        return {}

    def url(self, state: EndpointState) -> str:
        """A port of this machine."""
        return f"http://{HOST}:{state.port}"

    def trust(self, state: EndpointState) -> "Trust | None":
        """None: it has no certificate."""
        del state
        return None

    def answers(self, state: EndpointState) -> bool:
        """Whether the live release's server runs and has the port."""
        found = status(self._control(state, state.current or 0))
        return found is not None and found.get("port") == state.port and not found.get("problem")

    def logs(self, state: EndpointState, number: int) -> dict[str, str]:
        """The log file of the release's server."""
        path = self._log(state, number)
        return {f"release {number}": path.read_text("utf-8", "replace")} if path.exists() else {}

    def prove(self, state: EndpointState, number: int) -> dict[str, str]:
        """The server of the release."""
        return {f"release {number}": prove_now(self._control(state, number))}

    def start(self, state: EndpointState, release: Release) -> None:
        """Ensure that a release's server runs on a private port."""
        from tidegate.infra.system import processes
        from tidegate.pipelines.state.bundles import fetch_bundle

        control, name = self._control(state, release.number), _process(state, release.number)
        found = status(control) if processes.find(self._home.processes, name) is not None else None
        if found is not None and not found.get("problem"):
            return
        if found is not None:
            self._stop(state, release.number, name)  # it takes no request any more, as its proof failed
        bundle = fetch_bundle(self._home, release.bundle)
        log = self._log(state, release.number)
        serving, key = Serving.model_validate(release.serving), self.key(state, release.number)
        self._check_access(serving)
        keys = None if serving.keys is None else self._keys(serving.keys)
        record = processes.start(
            self._home.processes,
            name,
            server_argv(
                bundle,
                state.name,
                release.number,
                control,
                processes=_processes(serving),
                keys=keys,
                jwt=serving.issuers,
                rate_limit=serving.limit,
                record=record_to(self._home, state.name, serving),
            ),
            log=log,
            cwd=self._home.path,
            env={
                "TIDEGATE_HOME": str(self._home.path),
                SECRETS: str(secrets_of(self._home)),
                **self._trusted(release),
            }
            | ({OWN_KEY: line_of(key)} if key else {}),
            extra={"endpoint": state.name, "release": release.number},
        )
        try:
            wait_ready(control, START_S, lambda: processes.alive(record))
        except ServerStartError as error:
            processes.stop(self._home.processes, name)
            tail = " ".join(log.read_text(errors="replace").split()[-60:])
            raise ServerStartError(f"{error}; the end of {log}: {tail}") from error

    def _trusted(self, release: Release) -> dict[str, str]:
        """What a server is told to ask of its bundle; of a release that was not signed nothing."""
        if not release.signed_by:
            return {}
        return {"TIDEGATE_TRUSTED_KEYS": str(trusted_folder(self._home))}

    def private_url(self, state: EndpointState, number: int) -> str:
        """The private port of its server."""
        control = self._control(state, number)
        if status(control) is None:
            self.start(state, state.release(number))
        found = status(control)
        if found is None:
            raise PipelineError(f"release {number} of {state.name} does not answer; submit again")
        return f"http://{HOST}:{found['private_port']}"

    def key(self, state: EndpointState, number: int) -> str | None:
        """It is kept in a file of the home that only its owner may read."""
        if not Serving.model_validate(state.release(number).serving).guarded:
            return None
        return key_in_file(self._home.endpoints / state.name / "own.key")

    def go_live(
        self, name: str, number: int, *, try_canary: bool = False, event: Event | None = None
    ) -> Live:
        """Give a release the port, move the pointer, retire the others.

        If a first release finds its port taken since it was chosen, it gets another one.
        """
        del try_canary  # one server has the port: there is no share of the traffic to try it with
        try:
            return Live(state=self._take_over(name, number, event))
        except PortTakenError:
            state = load(self._home.store, name)
            if state.current is not None or state.release(number).serving.get("port") is not None:
                raise
        port = choose_port(self._home, state, None)
        moved = partial(EndpointState.model_copy, update={"port": port})
        update(self._home.store, name, moved, ConflictError)
        return Live(state=self._take_over(name, number, event))

    def _take_over(self, name: str, number: int, event: Event | None) -> EndpointState:
        state = load(self._home.store, name)
        self.start(state, state.release(number))
        previous = self._control(state, state.current) if state.current not in (None, number) else None
        if state.port is None:
            raise PipelineError(f'endpoint "{name}" has no port; deploy it again')
        take_over(self._control(state, number), state.port, previous)
        state = update(self._home.store, name, lambda known: promote(known, number, event), ConflictError)
        self.retire_others(state)
        return state

    def retire_others(self, state: EndpointState) -> None:
        """Drain and stop every server of the endpoint except those of the live release and of active runs."""
        waiting = [release for release in state.releases if release.state == "pending"]
        driven = [known for known in waiting if is_held(RunFolder(self._home.runs_path / known.driver).lock)]
        kept = {
            _process(state, number) for number in (state.current or 0, *(known.number for known in driven))
        }
        self._stop_all(state, kept)

    def _stop_all(self, state: EndpointState, kept: set[str]) -> None:
        from tidegate.infra.system import processes

        for record in processes.records(self._home.processes):
            if record.extra.get("endpoint") == state.name and record.name not in kept:
                self._stop(state, int(record.extra["release"]), record.name)

    def stop(self, state: EndpointState, number: int) -> bool:
        """Drain a release's server, then stop it."""
        return self._stop(state, number, _process(state, number))

    def _stop(self, state: EndpointState, number: int, name: str) -> bool:
        from tidegate.infra.system import processes

        ran = processes.find(self._home.processes, name) is not None
        if drain(self._control(state, number)):
            deadline = time.monotonic() + GRACE + 1
            while processes.find(self._home.processes, name) is not None and time.monotonic() < deadline:
                time.sleep(0.02)
        return processes.stop(self._home.processes, name) or ran

    def remove(self, state: EndpointState) -> bool:
        """Stop every server of the endpoint."""
        ran = self.stop(state, state.current or 0)
        self._stop_all(state, set())
        return ran

    def down(self) -> list[str]:
        """Nothing: servers are processes of the home, which are all stopped together."""
        return []

    def sweep(self) -> list[str]:
        """Nothing: a server that ended leaves nothing behind."""
        return []

    def _keys(self, name: str) -> Path:
        """The file of a secret with API keys."""
        return secrets_of(self._home) / f"{name}.keys"

    def _log(self, state: EndpointState, number: int) -> Path:
        return self._home.endpoints / state.name / f"{state.incarnation}-{number}.log"

    def _control(self, state: EndpointState, number: int) -> Path:
        """The control socket of a release's server."""
        return self._home.endpoints / state.name / f"{state.incarnation}-{number}.sock"


def _process(state: EndpointState, number: int) -> str:
    """The name under which a release's server process is recorded."""
    return f"endpoint-{state.name}.{state.incarnation}.{number}"


def _processes(serving: Serving) -> int:
    """Of its server; auto is one here: the cores are for training too, and a laptop has many endpoints."""
    return serving.processes if isinstance(serving.processes, int) else 1
