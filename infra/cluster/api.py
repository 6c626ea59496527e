"""One namespace of a Kubernetes API server, objects as plain dicts. The only module that imports `kubernetes`.

Every request has a time limit. It is retried, with jitter, when the connection broke or the server was busy, so an
API server that restarts costs seconds, not a run. Failures are raised as ClusterError.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tidegate.infra.cluster.api_errors import error_of, unreachable
from tidegate.infra.cluster.resource_kinds import KINDS
from tidegate.infra.errors import ChangedError, ClusterError, ForbiddenError, NotFoundError, UnreachableError
from tidegate.infra.system.backoff import pauses

MANAGER = "tidegate"
REQUEST_S = 15.0
PATIENCE_S = 30.0  # how long an API server may be away
PAGE = 200  # objects; one of a pod takes 50 KB here
Object = dict[str, Any]
Objects = list[Object]
Names = list[str]
IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Cluster:
    """A namespace of a cluster.

    Args:
        context: a context of the kubeconfig; None: the pod's own service account, or else the current context.
        namespace: the namespace of every namespaced object.
        patience_s: seconds for which requests to an unreachable server are retried.

    Raises:
        ClusterError: there is no kubeconfig, or no such context in it.
    """

    def __init__(self, context: str | None, namespace: str, patience_s: float = PATIENCE_S) -> None:
        self.namespace = namespace
        self.requests = 0
        self._patience = patience_s
        self._client = _client(context)

    def apply(self, obj: Object) -> Object:
        """Server-side apply under our field manager; changes by others to our fields are overwritten."""
        query = {"fieldManager": MANAGER, "force": "true"}
        path = self._path(obj["kind"], obj["metadata"]["name"])
        return self._request("PATCH", path, query, obj, "application/apply-patch+yaml")

    def create(self, obj: Object) -> Object:
        """Create an object; raises AlreadyExistsError."""
        return self._request("POST", self._path(obj["kind"]), {"fieldManager": MANAGER}, obj)

    def get(self, kind: str, name: str) -> Object | None:
        """One object, or None."""
        try:
            return self._request("GET", self._path(kind, name))
        except NotFoundError:
            return None

    def list(self, kind: str, labels: str = "", fields: str = "") -> Objects:
        """The objects that match a label selector and a field selector."""
        return self.list_with_version(kind, labels, fields)[0]

    def list_with_version(
        self,
        kind: str,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], Object | None] = lambda obj: obj,
    ) -> tuple[Objects, str]:
        """The objects, as `list` returns them, and the resource version from which a watch continues.

        Args:
            kind, labels, fields: as for `list`.
            keep: what is kept of an object; None: nothing. It is called page by page.
        """
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        query = {key: value for key, value in query.items() if value}
        items: Objects = []
        while True:
            answer = self._request("GET", self._path(kind), query)
            found = (keep({"kind": kind, **item}) for item in answer["items"])
            items += [item for item in found if item is not None]
            if not answer["metadata"].get("continue"):
                return items, answer["metadata"]["resourceVersion"]
            query["continue"] = answer["metadata"]["continue"]

    def patch(self, kind: str, name: str, body: Object) -> Object:
        """Merge a change into an object."""
        query = {"fieldManager": MANAGER}
        return self._request("PATCH", self._path(kind, name), query, body, "application/merge-patch+json")

    def delete(self, kind: str, name: str, uid: str = "") -> bool:
        """Delete an object and, in the background, what it owns.

        Args:
            kind, name: of the object.
            uid: delete it only if it is this very one: whoever else has read it may have replaced it since.

        Returns:
            False when it was not there, or is another one by now.
        """
        policy = {"propagationPolicy": "Background"}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **policy, "preconditions": {"uid": uid}}
        try:
            self._request("DELETE", self._path(kind, name), policy, body if uid else None)
        except NotFoundError:
            return False
        except ChangedError:
            if not uid:
                raise
            return False
        return True

    def delete_all(self, kind: str, labels: str) -> Names:
        """Delete the objects that match a label selector; return their names."""
        names = [obj["metadata"]["name"] for obj in self.list(kind, labels)]
        return [name for name in names if self.delete(kind, name)]

    def logs(
        self, pod: str, *, container: str | None = None, tail: int | None = None, previous: bool = False
    ) -> str:
        """The log of a container; "" when the container has not started or is gone."""
        query = {
            "container": container or "",
            "tailLines": str(tail or ""),
            "previous": "true" if previous else "",
        }
        query = {key: value for key, value in query.items() if value}
        try:
            content = self._send(
                "GET", f"{self._path('Pod', pod)}/log", query, None, "application/json"
            ).read()
        except (NotFoundError, ClusterError) as error:
            if isinstance(error, ForbiddenError | UnreachableError):
                raise
            return ""
        return bytes(content or b"").decode(errors="replace")

    def watch(self, kind: str, labels: str, timeout_s: int, since: str = "") -> Iterator[tuple[str, Object]]:
        """Yield changes as (ADDED, MODIFIED or DELETED; object) for at most `timeout_s` seconds.

        Raises:
            ExpiredError: `since` is too old; list again.
            ClusterError: any other failure; list again, after a moment.
        """
        query = {
            "labelSelector": labels,
            "resourceVersion": since,
            "timeoutSeconds": str(timeout_s),
            "watch": "true",
        }
        query = {key: value for key, value in query.items() if value}
        answer = self._once("GET", self._path(kind), query, None, "application/json", read_s=timeout_s + 5.0)
        try:
            for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(
                        int(event["object"].get("code", 500)), json.dumps(event["object"]).encode()
                    )
                yield event["type"], event["object"]
        finally:
            answer.close()

    def raw(self, path: str) -> Any:
        """GET any path, such as /version; return the parsed JSON."""
        return self._request("GET", path)

    def _path(self, kind: str, name: str = "") -> str:
        return KINDS[kind].path(self.namespace, name)

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        answer: Object = json.loads(self._send(method, path, query or {}, body, content_type).read())
        return answer

    def _send(
        self, method: str, path: str, query: dict[str, str], body: Object | None, content_type: str
    ) -> Any:
        """Send; retry while the server is unreachable or busy. All our requests may safely be repeated."""
        deadline, waits = time.monotonic() + self._patience, pauses(0.2, 5.0)
        while True:
            try:
                return self._once(method, path, query, body, content_type, REQUEST_S)
            except UnreachableError:
                pause = next(waits)
                if time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)

    def _once(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | None,
        content_type: str,
        read_s: float,
    ) -> Any:
        import urllib3
        from kubernetes.client.exceptions import ApiException

        self.requests += 1
        config = self._client.configuration
        url = f"{config.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers: dict[str, str] = {"Accept": "application/json", "Content-Type": content_type}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                preload_content=False,
                retries=False,
                timeout=urllib3.Timeout(connect=5.0, read=read_s),
            )
        except (urllib3.exceptions.HTTPError, OSError, ApiException) as error:
            raise UnreachableError(unreachable(config.host, error)) from error
        if answer.status >= 300:
            raise error_of(answer.status, answer.read())
        return answer


def _client(context: str | None) -> Any:
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    found = Configuration()
    try:
        if context is None and IN_POD.exists():
            config.load_incluster_config(client_configuration=found)
        else:
            config.load_kube_config(context=context, client_configuration=found)
    except config.ConfigException as error:
        expected = f"context {context!r}" if context else "a current context"
        raise ClusterError(
            f"the kubeconfig cannot be used: {error}; expected one with {expected}; set $KUBECONFIG to its path, "
            "or name another `context` in targets.yaml (`kubectl config get-contexts` lists them)"
        ) from error
    found.retries = False
    return ApiClient(found)


def _lines(answer: Any) -> Iterator[bytes]:
    import urllib3

    rest = b""
    try:
        for chunk in answer.stream(1 << 16, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnreachableError(f"the connection of the watch broke: {error}") from error
