"""A lock across machines: a Lease in the namespace that its holder keeps renewing."""

import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import (
    AlreadyExistsError,
    ClusterError,
    ForbiddenError,
    LockedError,
    UnreachableError,
)

VALID_S = 20  # a holder that has not renewed for this long is dead
RENEW_S = 5.0
POLL_S = 0.5
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@contextmanager
def leased(
    cluster: Cluster, name: str, who: str, timeout: float, labels: dict[str, str] | None = None
) -> Iterator[None]:
    """Hold the lock of that name.

    Args:
        cluster: the namespace.
        name: the Lease's name.
        who: the run that takes the lock, "" for a person. A run takes over its own lock, because its earlier driver
            is dead when a new one starts.
        timeout: seconds to wait.
        labels: the Lease's labels.

    Raises:
        LockedError: another holder kept the lock until the timeout.
    """
    lease = _Lease(cluster, name, who, labels or {})
    lease.acquire(timeout)
    stop = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(stop,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        lease.release()


class _Lease:
    """One holder's side of a Lease."""

    def __init__(self, cluster: Cluster, name: str, who: str, labels: dict[str, str]) -> None:
        self._cluster, self._name, self._who, self._labels = cluster, name, who, labels
        self._identity = f"{who or socket.gethostname()}/{secrets.token_hex(4)}"
        # Clocks differ between machines, so we measure by our own clock how long the Lease has not changed.
        self._seen: tuple[str, float] = ("", 0.0)

    def acquire(self, timeout: float) -> None:
        """Wait for the lock."""
        deadline, reported = time.monotonic() + timeout, ""
        while not self._try():
            holder = str(self._found().get("spec", {}).get("holderIdentity") or "?")
            if holder != reported:
                name = holder.partition("/")[0]
                print(f"waiting for {name}, which is changing the same object", file=sys.stderr)
                reported = holder
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{self._name} is held by {holder}, still after {timeout:g} s; "
                    "wait for that command or run to end, or cancel it, then try again"
                )
            time.sleep(POLL_S)

    def _try(self) -> bool:
        found = self._found()
        if not found:
            return self._write(None)
        return self._is_free(found) and self._write(found["metadata"]["resourceVersion"])

    def _is_free(self, found: dict[str, Any]) -> bool:
        holder = str(found["spec"].get("holderIdentity") or "")
        if not holder or (self._who and holder.partition("/")[0] == self._who):
            return True
        version = found["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, time.monotonic())
        return time.monotonic() - self._seen[1] > VALID_S

    def _found(self) -> dict[str, Any]:
        return self._cluster.get("Lease", self._name) or {}

    def _write(self, version: str | None) -> bool:
        """Write ourselves as the holder if the Lease is unchanged since it was read; `version` None: no Lease yet."""
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": VALID_S,
            "renewTime": datetime.now(UTC).strftime(TIME),
        }
        try:
            if version is not None:
                self._cluster.patch(
                    "Lease", self._name, {"metadata": {"resourceVersion": version}, "spec": spec}
                )
                return True
            metadata = {"name": self._name, "labels": self._labels}
            self._cluster.create(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": metadata,
                    "spec": spec,
                }
            )
        except (ForbiddenError, UnreachableError):
            raise
        except AlreadyExistsError:
            return False
        except ClusterError:  # a conflict, or it was deleted: another process was faster
            return False
        return True

    def renew(self, stop: threading.Event) -> None:
        """Renew the Lease until `stop` is set; give up if another process has taken it."""
        while not stop.wait(RENEW_S):
            with suppress(ClusterError):  # the next renewal may succeed
                found = self._found()
                if found.get("spec", {}).get("holderIdentity") != self._identity:
                    return
                self._write(found["metadata"]["resourceVersion"])

    def release(self) -> None:
        """Delete the Lease if it is still ours."""
        with suppress(ClusterError):  # it expires by itself
            if self._found().get("spec", {}).get("holderIdentity") == self._identity:
                self._cluster.delete("Lease", self._name)
