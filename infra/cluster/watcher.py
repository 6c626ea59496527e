"""What a run's Jobs and pods look like now, kept up to date by one watch a kind.

A watch is only a hint that comes early: whatever it misses, a new list finds. It is begun again after any error,
with jitter, and every few minutes anyway.
"""

import random
import threading
import time
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import ClusterError, ExpiredError

Object = dict[str, Any]
WATCH_S = 240
PAUSE_S = 1.0
LONGEST_S = 15.0


class ObjectWatcher:
    """Follows all objects of some kinds that have a label.

    Args:
        cluster: the namespace.
        labels: a label selector.
        index: a label by whose value objects are found quickly.
        kinds: which kinds.
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

    def lists(self, kind: str) -> int:
        """How often all objects of a kind were listed: what was gone before the last list is really gone."""
        return self._lists[kind]

    @property
    def problem(self) -> ClusterError | None:
        """Why nothing can be seen at the moment."""
        return self._problem

    def stop(self) -> None:
        """Stop following; the threads end with their watches."""
        self._stop.set()

    def _keep_watching(self, kind: str) -> None:
        pause = PAUSE_S
        while not self._stop.is_set():
            try:
                self._watch(kind, self._list(kind))
                pause = PAUSE_S
            except ExpiredError:
                continue
            except ClusterError as error:
                self._problem = error
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_S)

    def _list(self, kind: str) -> str:
        found, version = self._cluster.list_with_version(kind, self._labels)
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
                    self._keep(kind, obj)

    def _keep(self, kind: str, obj: Object) -> None:
        name = obj["metadata"]["name"]
        self._objects[kind][name] = _slim(obj)
        self._groups[kind].setdefault(self._value(obj), set()).add(name)

    def _value(self, obj: Object) -> str:
        return str((obj["metadata"].get("labels") or {}).get(self._index, ""))


def _slim(obj: Object) -> Object:
    """Without what is big and asked for by nobody: a run may have thousands."""
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
