"""Jobs of many pods that each do one part, by the pod's index. Pure functions."""

from typing import Any

Object = dict[str, Any]
TRIES = 2  # of an index after its first failure
INDEX = "batch.kubernetes.io/job-completion-index"  # annotation of a pod


def indexed(job: Object, count: int, parallel: int, bundle: Object) -> Object:
    """A step's Job as one with an index for each of its pods, which has a bundle before it starts.

    An index whose pod ends as a step that raised an error does is not tried again, and the others go on; after any
    other failure it is tried twice more. A pod that was evicted, or whose node is gone, does not count.

    Args:
        job: from `step_job`; it is not changed.
        count: number of indexes.
        parallel: how many run at once, where there is room.
        bundle: the init container that lays out the bundle, from `endpoint_pod.bundle_fetcher`.
    """
    spec = {key: value for key, value in job["spec"].items() if key != "backoffLimit"}
    rules = [
        {**rule, "action": "FailIndex"} if rule["action"] == "FailJob" else rule
        for rule in spec["podFailurePolicy"]["rules"]
    ]
    spec |= {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": min(count, parallel),
        "backoffLimitPerIndex": TRIES,
        "podFailurePolicy": {"rules": rules},
        "template": {**spec["template"], "spec": _with_bundle(spec["template"]["spec"], bundle)},
    }
    return {**job, "spec": spec}


def _with_bundle(pod: Object, bundle: Object) -> Object:
    first, *others = pod["containers"]
    mount = next(one for one in bundle["volumeMounts"] if one["name"] == "bundle")
    first = {**first, "volumeMounts": [*first["volumeMounts"], {**mount, "readOnly": True}]}
    volumes = [*pod["volumes"], {"name": "bundle", "emptyDir": {}}]
    return {**pod, "initContainers": [bundle], "containers": [first, *others], "volumes": volumes}


def index_of(pod: Object) -> int:
    """A pod's index."""
    return int(pod["metadata"].get("annotations", {}).get(INDEX, 0))
