"""Whether the store and MLflow answer, from wherever this runs: for `check`, here and in a pod of the target.

`python -m tidegate.pipelines.commands.checking.reachability` is what the pod runs; it prints the items as one line of
JSON.
"""

import json
import os
import secrets
import sys
from typing import Any

from tidegate.infra.errors import StoreError, TrackingError
from tidegate.infra.mlflow.address import outside
from tidegate.infra.mlflow.tracking import check_login
from tidegate.infra.store import open_bucket
from tidegate.pipelines.result import item


def check_store(url: str, endpoint: str | None) -> dict[str, Any]:
    """Whether the store writes and reads an object, and refuses a second writer who expects none."""
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # one attempt: report, do not retry
    key = f"check-{secrets.token_hex(8)}"
    try:
        bucket = open_bucket(url, endpoint)
        first, _ = bucket.put(key, b"tidegate check", None, {})
        try:
            second, _ = bucket.put(key, b"another", None, {})
            found = bucket.get(key)
        finally:
            bucket.delete(key)
    except StoreError as error:
        return item(
            "store",
            False,
            str(error),
            "see the message; the credentials are those that the cloud's own library finds",
        )
    if first is None or second is not None or found is None or found[0] != b"tidegate check":
        detail = f"{url}: the server overwrites what a conditional write must keep"
        return item("store", False, detail, "use a server that honours conditional writes, or update it")
    return item("store", True, f"{url} reads and writes, and refuses conflicting writes")


def check_mlflow() -> dict[str, Any]:
    """Whether the MLflow of $MLFLOW_TRACKING_URI takes what every command asks, with the login that the client has."""
    try:
        url = outside() or ""
        check_login(url)
    except TrackingError as error:
        fix = "check that it runs (kubectl get pods) and that `mlflow` in targets.yaml is its address"
        if "HTTP 403" in str(error):
            fix = "or set MLflow's address, TIDEGATE_MLFLOW_URL in the ConfigMap tidegate, then restart it"
        return item("mlflow", False, str(error), fix)
    return item("mlflow", True, url, "")


def main() -> None:
    """Check from inside a pod, whose environment has the addresses."""
    store = check_store(os.environ["TIDEGATE_STORE"], os.environ.get("TIDEGATE_S3_ENDPOINT") or None)
    items = [store, check_mlflow()]
    print(json.dumps(items))
    sys.exit(0 if all(one["ok"] for one in items) else 1)


if __name__ == "__main__":
    main()
