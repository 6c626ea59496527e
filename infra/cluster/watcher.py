"""The current state of a run's Jobs and pods, kept up to date by one watch per kind.

A watch only brings changes early: whatever it misses, the next list finds. It is restarted after every error, with
jitter, and every few minutes in any case.
"""

import threading
import time
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import ClusterError, ExpiredError
from tidegate.infra.system.backoff import pauses

Object = dict[str, Any]
WATCH_S = 240
PAUSE_S = 1.0
LONGEST_S = 15.0


class ObjectWatcher:
    """Watches all objects of some kinds that match a label selector.

    Args:
        cluster: the namespace.
        labels: the label selector.
        index: the label that `choose` looks objects up by.
        kinds: the kinds to watch.
    """

    def __init__(
        self, cluster: Cluster, labels: str, index: str, kinds: tuple[str, ...] = ("Job", "Pod")
    ) -> None:
        self._cluster = cluster
        self._labels = labels
        self._index = index
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in kinds}
        self._groups: dict[str, dict[str, set[str]]] = {kind: {} for kind in kinds}
        self._lists: dict[str, int] = dict.fromkeys(kinds, 0)
        self._forgotten: set[str] = set()
        self._problem: ClusterError | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        for kind in kinds:
            threading.Thread(
                target=self._keep_watching, args=(kind,), daemon=True, name=f"watch-{kind}"
            ).start()

    def find(self, kind: str, name: str) -> Object | None:
        """One object, or None."""
        with self._lock:
            return self._objects[kind].get(name)

    def choose(self, kind: str, value: str) -> list[Object]:
        """The objects of a kind whose index label has this value, oldest first."""
        with self._lock:
            found = [self._objects[kind][name] for name in self._groups[kind].get(value, ())]
        return sorted(found, key=lambda obj: str(obj["metadata"]["creationTimestamp"]))

    def forget(self, value: str) -> None:
        """Keep no object any more whose index label has this value: of thousands, few are of interest at once."""
        with self._lock:
            self._forgotten.add(value)
            for kind, groups in self._groups.items():
                for name in groups.pop(value, ()):
                    self._objects[kind].pop(name, None)

    def expect(self, value: str) -> None:
        """Keep the objects of this value again; it is called before they are created anew."""
        with self._lock:
            self._forgotten.discard(value)

    def lists(self, kind: str) -> int:
        """How often all objects of a kind were listed; an object missing after the latest list is really gone."""
        return self._lists[kind]

    @property
    def problem(self) -> ClusterError | None:
        """The error that keeps the watches from the API server at the moment, if any."""
        return self._problem

    def stop(self) -> None:
        """Stop watching; each thread ends with its current watch."""
        self._stop.set()

    def _keep_watching(self, kind: str) -> None:
        waits = pauses(PAUSE_S, LONGEST_S)
        while not self._stop.is_set():
            try:
                self._watch(kind, self._list(kind))
                waits = pauses(PAUSE_S, LONGEST_S)
            except ExpiredError:
                continue
            except ClusterError as error:
                self._problem = error
                time.sleep(next(waits))

    def _list(self, kind: str) -> str:
        # Each page is cut down as it comes: thousands of whole objects would fill the memory.
        found, version = self._cluster.list_with_version(kind, self._labels, keep=self._slim_if_wanted)
        with self._lock:
            self._objects[kind], self._groups[kind] = {}, {}
            for obj in found:
                self._keep(kind, obj)
        self._problem = None
        self._lists[kind] += 1
        return version

    def _watch(self, kind: str, since: str) -> None:
        for change, obj in self._cluster.watch(kind, self._labels, WATCH_S, since):
            if self._stop.is_set():
                return
            with self._lock:
                if change == "DELETED":
                    self._objects[kind].pop(obj["metadata"]["name"], None)
                    self._groups[kind].get(self._value(obj), set()).discard(obj["metadata"]["name"])
                elif change in ("ADDED", "MODIFIED"):
                    self._keep(kind, _slim(obj))

    def _keep(self, kind: str, obj: Object) -> None:
        name, value = obj["metadata"]["name"], self._value(obj)
        if value not in self._forgotten:
            self._objects[kind][name] = obj
            self._groups[kind].setdefault(value, set()).add(name)

    def _slim_if_wanted(self, obj: Object) -> Object | None:
        return None if self._value(obj) in self._forgotten else _slim(obj)

    def _value(self, obj: Object) -> str:
        return str((obj["metadata"].get("labels") or {}).get(self._index, ""))


def _slim(obj: Object) -> Object:
    """Return the object without the large parts that nobody reads, as a run may have thousands of objects."""
    meta = {
        key: obj["metadata"].get(key)
        for key in ("name", "uid", "creationTimestamp", "labels", "ownerReferences")
    }
    meta["deletionTimestamp"] = obj["metadata"].get("deletionTimestamp")
    return {
        "metadata": meta,
        "status": obj.get("status", {}),
        "node": obj.get("spec", {}).get("nodeName", ""),
    }
