"""A cluster's API in this process, whose pods are processes here: the executor of a cluster runs against it unchanged.

It keeps Jobs and pods as plain objects, tells watches of each change, and does with a Job's pod what the Job says: a
command that ends with 0 completes it, one that ends with 1 fails it, and any other end is followed by a new pod, twice.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import uuid4

from tidegate.infra.errors import AlreadyExistsError

Object = dict[str, Any]
Objects = list[Object]
Names = list[str]
BACKOFF = 2


class PodCluster:
    """One namespace.

    Args:
        folder: for the homes and logs of its pods.
        store: URL of the store that its pods use.
        environment: more variables of its pods.
    """

    def __init__(self, folder: Path, store: str, **environment: str) -> None:
        self.requests = 0
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder, self._store, self._environment = folder, store, environment
        self._objects: dict[str, dict[str, Object]] = {"Job": {}, "Pod": {}}
        self._events: list[tuple[str, str, Object]] = []
        self._changed = threading.Condition()
        self._closed = False

    def create(self, job: Object) -> Object:
        """Create a Job, and start its pod."""
        self.requests += 1
        name, made = job["metadata"]["name"], deepcopy(job)
        made["metadata"] |= {"uid": uuid4().hex, "creationTimestamp": str(time.time())}
        made["status"] = {}
        with self._changed:
            if name in self._objects["Job"]:
                raise AlreadyExistsError(name)
            self._tell("ADDED", "Job", made)
        threading.Thread(target=self._drive, args=(made,), daemon=True).start()
        return deepcopy(made)

    def get(self, kind: str, name: str) -> Object | None:
        """One object."""
        self.requests += 1
        return self._objects[kind].get(name)

    def list(self, kind: str, labels: str = "", fields: str = "") -> Objects:
        """The objects that match."""
        return self.list_with_version(kind, labels, fields)[0]

    def list_with_version(
        self,
        kind: str,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], Object | None] = lambda obj: obj,
    ) -> tuple[Objects, str]:
        """The same, and from where a watch continues."""
        del fields  # only events are listed by fields, and there are none
        self.requests += 1
        with self._changed:
            found = [obj for obj in self._objects.get(kind, {}).values() if _matches(obj, labels)]
            kept = [one for obj in found if (one := keep(deepcopy(obj))) is not None]
            return kept, str(len(self._events))

    def watch(self, kind: str, labels: str, timeout_s: int, since: str = "") -> Iterator[tuple[str, Object]]:
        """The changes of a kind."""
        self.requests += 1
        at, until = int(since), time.monotonic() + timeout_s
        while time.monotonic() < until:
            with self._changed:
                if len(self._events) == at:
                    self._changed.wait(0.5)
                fresh, at = self._events[at:], len(self._events)
            yield from (
                (change, obj) for change, known, obj in fresh if known == kind and _matches(obj, labels)
            )

    def delete(self, kind: str, name: str, uid: str = "") -> bool:
        """Delete a Job, if it has this uid, and end its pods as a node does."""
        self.requests += 1
        with self._changed:
            found = self._objects[kind].get(name)
            if found is None or uid not in ("", found["metadata"]["uid"]):
                return False
            self._tell("DELETED", kind, found)
        for pod in [pod for pod in self.processes if pod.startswith(f"{name}-")]:
            self.processes[pod].terminate()
        return True

    def logs(self, pod: str, *, tail: int | None = None) -> str:
        """What a pod has printed."""
        self.requests += 1
        path = self._folder / f"{pod}.log"
        return "\n".join(path.read_text().splitlines()[-(tail or 0) :]) if path.exists() else ""

    def kill(self, pod: str) -> None:
        """Kill a pod's process, and all that it started."""
        os.killpg(self.processes[pod].pid, signal.SIGKILL)

    def living(self) -> Names:
        """The pods whose process runs."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def close(self) -> None:
        """Kill every pod, and start no further one."""
        self._closed = True
        for name in self.living():
            self.kill(name)
            self.processes[name].wait()

    def _tell(self, change: str, kind: str, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if change == "DELETED":
            self._objects[kind].pop(name, None)
        else:
            self._objects[kind][name] = obj
        self._events.append((change, kind, deepcopy(obj)))
        self._changed.notify_all()

    def _drive(self, job: Object) -> None:
        """Run a Job's pods, one after the other."""
        for attempt in range(BACKOFF + 1):
            code = self._run_pod(job, f"{job['metadata']['name']}-{attempt}")
            if self._closed or self._objects["Job"].get(job["metadata"]["name"]) is not job:
                return
            if code in (0, 1) or attempt == BACKOFF:
                failed = {
                    "type": "Failed",
                    "status": "True",
                    "reason": "PodFailurePolicy",
                    "message": f"exit {code}",
                }
                condition = {"type": "Complete", "status": "True"} if code == 0 else failed
                with self._changed:
                    job["status"] = {"conditions": [condition]}
                    self._tell("MODIFIED", "Job", job)
                return

    def _run_pod(self, job: Object, name: str) -> int:
        command = job["spec"]["template"]["spec"]["containers"][0]["command"]
        argv = [sys.executable, *command[1:]]
        home = self._folder / name
        env = {**os.environ, **self._environment, "TIDEGATE_HOME": str(home), "TIDEGATE_STORE": self._store}
        env |= {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        labels = job["spec"]["template"]["metadata"]["labels"]
        pod: Object = {
            "metadata": {"name": name, "uid": name, "labels": labels, "creationTimestamp": str(time.time())},
            "spec": {"nodeName": "here"},
            "status": {"phase": "Running"},
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        with self._changed:
            self._tell("ADDED", "Pod", pod)
        code = self.processes[name].wait()
        ended = {"exitCode": code if code >= 0 else 128 - code}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"state": {"terminated": ended}}],
        }
        with self._changed:
            self._tell("MODIFIED", "Pod", {**pod, "status": status})
        return code


def _matches(obj: Object, labels: str) -> bool:
    known = obj["metadata"].get("labels") or {}
    for term in filter(None, labels.split(",")):
        name, equals, value = term.partition("=")
        if name.endswith("!"):
            if known.get(name[:-1]) == value:
                return False
        elif name not in known or (equals and known[name] != value):
            return False
    return True
