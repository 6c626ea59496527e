"""A lock that every machine with access to the namespace respects: a Lease whose holder says again that it lives."""

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

VALID_S = 20  # a holder that has not been heard of for so long is dead
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
        name: of the Lease.
        who: a run, whose own lock this may be: its earlier driver is dead when a new one asks. "" for a person.
        timeout: seconds to wait.
        labels: of the Lease.

    Raises:
        LockedError: somebody else holds it beyond the timeout.
    """
    lease = _Lease(cluster, name, who, labels or {})
    lease.acquire(timeout)
    over = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(over,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        lease.release()


class _Lease:
    """One holder's side of a Lease."""

    def __init__(self, cluster: Cluster, name: str, who: str, labels: dict[str, str]) -> None:
        self._cluster, self._name, self._who, self._labels = cluster, name, who, labels
        self._identity = f"{who or socket.gethostname()}/{secrets.token_hex(4)}"
        # Clocks differ between machines: what counts is how long the Lease has stood still before our eyes.
        self._seen: tuple[str, float] = ("", 0.0)

    def acquire(self, timeout: float) -> None:
        """Wait for the lock."""
        deadline, told = time.monotonic() + timeout, ""
        while not self._try():
            holder = str(self._found().get("spec", {}).get("holderIdentity") or "?")
            if holder != told:
                print(f"waiting for {holder.partition('/')[0]}, which is changing the same", file=sys.stderr)
                told = holder
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{self._name} is held by {holder}, and still was after {timeout:g} s. "
                    "Wait for that command or run to end, or cancel it, then try again."
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
        """Write ourselves as the holder, if the Lease is still the one that was read (None: not there)."""
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
        except ClusterError:  # a conflict, or it was deleted: somebody was faster
            return False
        return True

    def renew(self, over: threading.Event) -> None:
        """Say again and again that we live, until told; give up when somebody took it."""
        while not over.wait(RENEW_S):
            with suppress(ClusterError):  # the next time, then
                found = self._found()
                if found.get("spec", {}).get("holderIdentity") != self._identity:
                    return
                self._write(found["metadata"]["resourceVersion"])

    def release(self) -> None:
        """Remove the Lease, if it is ours still."""
        with suppress(ClusterError):  # it runs out by itself
            if self._found().get("spec", {}).get("holderIdentity") == self._identity:
                self._cluster.delete("Lease", self._name)
